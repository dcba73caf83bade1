package gin_test

import (
	"context"
	"log"
	"net/http"

	ginsessions "github.com/gin-contrib/sessions"
	"github.com/gin-gonic/gin"

	sessionsqlgorilla "github.com/sessionsql/postgres/adapters/gorilla"
	"github.com/sessionsql/postgres/internal/sitetest"
	"github.com/sessionsql/postgres/sessionsql"
)

// ginStore adds the method that gin-contrib/sessions asks for. The adapter cannot have it without downloading
// gin.
type ginStore struct{ *sessionsqlgorilla.Store }

func (s ginStore) Options(options ginsessions.Options) { s.Store.Options = options.ToGorillaOptions() }

// A session of gin-contrib/sessions, before and after a login.
func Example() {
	ctx := context.Background()
	sessionStore, err := sessionsql.Open(ctx, databaseURL, nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer sessionStore.Close(ctx)

	store := ginStore{sessionsqlgorilla.NewStore(sessionStore)}
	const name = "__Host-session" // needs HTTPS
	site := gin.New()
	site.Use(ginsessions.Sessions(name, store))
	site.POST("/cart", func(c *gin.Context) {
		session := ginsessions.Default(c)
		session.Set("cart", "tea")
		if err := session.Save(); err != nil {
			c.String(http.StatusServiceUnavailable, "try again")
		}
	})
	site.POST("/login", func(c *gin.Context) { // ask for a password here
		session, err := store.Get(c.Request, name) // the one that gin has, as gorilla's type
		if err == nil {
			err = store.LogIn(c.Request, c.Writer, session, sessionsql.InsertOptions{Subject: "user:7"})
		}
		if err == nil {
			session.Values["name"] = "Ann"
			err = session.Save(c.Request, c.Writer)
		}
		if err != nil {
			c.String(http.StatusServiceUnavailable, "try again")
		}
	})
	site.POST("/logout", func(c *gin.Context) {
		session := ginsessions.Default(c)
		session.Options(ginsessions.Options{MaxAge: -1})
		if err := session.Save(); err != nil {
			c.String(http.StatusServiceUnavailable, "try again") // and still logged in
		}
	})
	site.GET("/", func(c *gin.Context) {
		session := ginsessions.Default(c)
		c.String(http.StatusOK, "%v %v\n", session.Get("cart"), session.Get("name"))
	})
	sitetest.Show(site, "/cart", "/login", "/logout")
	// Output:
	// /cart: tea <nil>
	// /login: tea Ann
	// /logout: <nil> <nil>
}
