package main

import (
	"bytes"
	"html/template"
	"net/http"
)

// The pages serve a person with a browser. The users of the load read the elements with an id.
const frame = `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>sessionsql demo</title>
<style>
  body { font: 1.1rem/1.6 system-ui, sans-serif; max-width: 34rem; margin: 3rem auto; padding: 0 1rem }
  body { color: #223 }
  form { margin: 1rem 0 } input, button { font: inherit; padding: .2rem .6rem } small { color: #667 }
</style>
`

const whoAndLinks = `
<p><a href="/">Look again</a> (counts) · <a href="/account">Account</a> (does not)</p>
<form method="post" action="/logout"><button>Log out</button></form>
`

var (
	loginPage = page(`<h1>Log in</h1>
{{with .}}<p>{{.}}</p>{{end}}
<form method="post" action="/login">
  <p><input name="name" placeholder="Any name" maxlength="64" required autofocus> <button>Log in</button></p>
  <label><input type="checkbox" name="public" value="1">
    This is a public computer: log me out soon, whatever I do</label>
</form>
`)

	homePage = page(`<h1>Hello, <span id="owner">{{.Subject}}</span></h1>
<p>You have seen this page <b id="views">{{.Value.Views}}</b> times in this session.</p>
<p><small>{{range .Value.Recent}}{{.}} {{end}}</small></p>
` + whoAndLinks)

	accountPage = page(`<h1>Account of <span id="owner">{{.Subject}}</span></h1>
<p>The home page was seen <b id="views">{{.Value.Views}}</b> times in this session.</p>
` + whoAndLinks)
)

func page(body string) *template.Template { return template.Must(template.New("").Parse(frame + body)) }

func show(w http.ResponseWriter, status int, page *template.Template, data any) error {
	var body bytes.Buffer
	if err := page.Execute(&body, data); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w) // because a visitor who has left does not need it
	return nil
}
