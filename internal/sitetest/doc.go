// Package sitetest tests the promises that every adapter of sessions makes, on real servers: browsers visit a
// small shop over HTTPS, whose visitors are known by the adapter alone. An adapter hands its [Shop] to [Run].
package sitetest
