package sitetest

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
)

// Show posts to each path of an example's site with one browser, and prints the home page after it.
func Show(site http.Handler, paths ...string) {
	server := httptest.NewTLSServer(site)
	defer server.Close()
	browser := server.Client()
	browser.Jar, _ = cookiejar.New(nil) // it never fails without options
	for _, path := range paths {
		if _, err := browser.Post(server.URL+path, "", nil); err != nil {
			log.Fatal(err)
		}
		page, err := browser.Get(server.URL + "/")
		if err != nil {
			log.Fatal(err)
		}
		text, err := io.ReadAll(page.Body)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s", path, text)
	}
}
