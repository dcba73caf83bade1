package main

import (
	"context"
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A browser is a user's cookie jar and the connections that all users share.
type browser struct {
	site   string
	client http.Client
}

// patience is longer than the site's time limit, so that the site answers even a slow request.
const patience = 2 * requestTimeout

const cookieName = "session" // the default of package web over plain HTTP

const (
	home    = "/"
	account = "/account"
	login   = "/login"
)

func newBrowser(site string, transport http.RoundTripper) *browser {
	jar, _ := cookiejar.New(nil) // it never fails without options
	return &browser{site: site, client: http.Client{
		Transport:     transport,
		Jar:           jar,
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// get opens a page with the cookie of the jar.
func (b *browser) get(ctx context.Context, path string) answer {
	a, _ := b.send(ctx, http.MethodGet, path, "", nil)
	return a
}

// arrive opens the log-in page and returns the cookie of the anonymous session, if the site sets one.
func (b *browser) arrive(ctx context.Context) (answer, string) {
	return b.send(ctx, http.MethodGet, login, "", nil)
}

// post sends a form and returns the new session cookie, if the site sets one.
func (b *browser) post(ctx context.Context, path string, form url.Values) (answer, string) {
	return b.send(ctx, http.MethodPost, path, "", form)
}

// present opens a page with a cookie from outside the jar.
func (b *browser) present(ctx context.Context, path, token string) answer {
	other := &browser{site: b.site, client: b.client}
	other.client.Jar = nil
	a, _ := other.send(ctx, http.MethodGet, path, token, nil)
	a.use = none
	return a
}

// send ignores the end of ctx, because requests under way still get their answers when the load ends.
func (b *browser) send(
	ctx context.Context, method, path, token string, form url.Values,
) (a answer, cookie string) {
	a.counting = path == home && method == http.MethodGet
	a.use = writing
	if path == account {
		a.use = reading
	}
	request, err := http.NewRequestWithContext(context.WithoutCancel(ctx), method, b.site+path,
		strings.NewReader(form.Encode()))
	if err != nil {
		a.err = err
		return a, ""
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if token != "" {
		request.Header.Set("Cookie", cookieName+"="+token)
	}
	a.sent = time.Now()
	response, err := b.client.Do(request)
	if err != nil {
		a.err, a.received = err, time.Now()
		return a, ""
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	a.received = time.Now()
	if err != nil {
		a.err = err
		return a, ""
	}
	a.status = response.StatusCode
	if a.accepted() && path != login {
		a.owner = element(string(body), "owner")
		if a.views, err = strconv.Atoi(element(string(body), "views")); err != nil {
			a.status, a.err = 0, errors.New("a page without its number of views")
		}
	}
	for _, c := range response.Cookies() {
		if c.Name == cookieName {
			cookie = c.Value
		}
	}
	return a, cookie
}

// element returns the text of the element with an id on a page of the site.
func element(page, id string) string {
	_, rest, _ := strings.Cut(page, `id="`+id+`">`)
	text, _, _ := strings.Cut(rest, "<")
	return html.UnescapeString(text)
}
