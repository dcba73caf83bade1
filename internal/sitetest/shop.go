package sitetest

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
	"github.com/sessionsql/postgres/sessionsql/web"
)

// A Shop serves these pages with an adapter's sessions over a Store:
//
//	/cart            prints the cart, which is empty without a session
//	/add?item=tea    puts an item into the cart
//	/login?name=ann  logs in as InsertOptions says
//	/logout          logs out
//
// A cart is a map from items to 1, printed by package fmt: map[milk:1 tea:1]. The name of the cookie is
// CookieName. A page that changes anything loads the session and calls during before it does. Fail answers
// an error.
type Shop func(store *sessionsql.Store, during func()) http.Handler

// CookieName is the name of the session's cookie.
const CookieName = "__Host-session"

// InsertOptions reads the options of a login from a request: name, label, cap, and the timeouts idle and
// life.
func InsertOptions(r *http.Request) (options sessionsql.InsertOptions, err error) {
	options.Subject, options.Label = r.FormValue("name"), r.FormValue("label")
	duration := func(name string) time.Duration {
		d, wrong := time.ParseDuration(r.FormValue(name) + "0s") // empty is 0
		err = errors.Join(err, wrong)
		return d
	}
	options.IdleTimeout, options.Lifetime = duration("idle"), duration("life")
	if text := r.FormValue("cap"); text != "" {
		maxSessions, wrong := strconv.ParseInt(text, 10, 32)
		options.MaxSessions, err = int32(maxSessions), errors.Join(err, wrong)
	}
	return options, err
}

// Fail answers an error with its text, and nil with nothing.
func Fail(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), web.Status(err))
	}
}
