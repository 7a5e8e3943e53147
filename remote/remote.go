// Package remote is the door of the Remote Manager API, /ws/v1: devices, their
// eSIMs and profiles, activation codes, actions and operations.
//
// It is a view of package device. Requests and answers are JSON; every resource
// follows one pattern: a summary, an inventory with pages, a query and an order,
// one record by its key, and an export as CSV.
package remote

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"godwit/account"
	"godwit/db"
	"godwit/device"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
	"godwit/monitor"
	"godwit/web"
)

// Options are the choices of a door.
type Options struct {
	DB       *db.DB
	Accounts *account.Store
	Devices  *device.Store
	Events   *event.Log
	Address  web.Address
	Rates    *web.Rates
	// Concurrent is how many requests of one account are worked on at a time;
	// any number if zero.
	Concurrent int
	// Configuration returns what an eUICC is to be told of the eIM: the octets
	// of its EimConfigurationData. That resource is not served if it is nil.
	Configuration func(ctx context.Context, eid ident.EID) ([]byte, error)
	// Packages is the eIM for packages that are no actions on a profile; nil has
	// them not served.
	Packages Packages
	// Monitors tell customers' servers what has changed; nil has them not served.
	Monitors *monitor.Store
	Now      func() time.Time // the clock, time.Now if nil
}

// A Door serves /ws/v1.
type Door struct {
	web.Door
	o Options

	mu        sync.Mutex
	customers map[string]int64 // customer_id by account; it never changes
}

const (
	root      = "/ws/v1"
	beginning = root + "/"
)

// Paths reports whether a path belongs to this door.
func Paths(path string) bool {
	return path == root || path == "/ws" || strings.HasPrefix(path, "/ws/")
}

// What a request's body may have.
const (
	maxBody = 4 << 20  // octets of JSON
	maxFile = 16 << 20 // octets of CSV
)

// New returns the handler of those paths.
func New(o Options) *Door {
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &Door{o: o, customers: map[string]int64{}}
	d.Door = web.Door{
		Routes: d.routes(), Authenticate: d.authenticate, Render: d.render, Address: o.Address, Rates: o.Rates, Concurrent: o.Concurrent, MaxBody: maxBody,
		IDHeader: "X-Request-Id",
	}
	return d
}

// ServeHTTP answers OPTIONS itself: which methods a path has is no secret.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions {
		if allowed := d.Routes.Allowed(r.URL); len(allowed) > 0 {
			w.Header().Set("Allow", strings.Join(append(allowed, http.MethodOptions), ", "))
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	d.Door.ServeHTTP(w, r)
}

// authenticate proves the caller: a user by name and password, or by an API key.
func (d *Door) authenticate(r *http.Request) (account.Caller, error) {
	if id, secret := r.Header.Get("X-API-KEY-ID"), r.Header.Get("X-API-KEY-SECRET"); id != "" || secret != "" {
		return d.o.Accounts.VerifyUserKey(r.Context(), id, secret)
	}
	user, password, ok := r.BasicAuth()
	if !ok {
		return account.Caller{}, fault.New(fault.Unauthorized, "send a user's name and password with HTTP Basic, or the headers X-API-KEY-ID and X-API-KEY-SECRET")
	}
	return d.o.Accounts.VerifyUser(r.Context(), user, password)
}

// reading wraps the handlers of a route that change nothing, writing those that
// do, and managing those for administrators.
func (d *Door) reading(h web.Handler) web.Handler { return d.guard(h, account.Role.Reads) }
func (d *Door) writing(h web.Handler) web.Handler { return d.guard(h, account.Role.Writes) }
func (d *Door) managing(h web.Handler) web.Handler {
	return d.guard(h, account.Role.Manages)
}

// guard refuses callers whose role does not allow it, and writes refusals that
// have a context.
func (d *Door) guard(h web.Handler, allowed func(account.Role) bool) web.Handler {
	return func(w http.ResponseWriter, r *web.Request) error {
		if !allowed(r.Caller.Role) {
			return fault.New(fault.Forbidden, "user %s is %s %s, which may not do this", r.Caller.User, article(r.Caller.Role), r.Caller.Role)
		}
		err := h(w, r)
		if refusal, context := refused(err); refusal != nil {
			return writeFailure(w, refusal, context)
		}
		return err
	}
}

func article(r account.Role) string {
	if strings.ContainsRune("aeio", rune(r[0])) {
		return "an"
	}
	return "a"
}

// by says who asks, for records and events. The source is the resource that was
// asked, as the hosted service names it.
func by(r *web.Request) device.By {
	path := strings.TrimPrefix(r.Route.Path, "/ws/")
	if parts := strings.SplitN(path, "/", 3); len(parts) > 2 {
		path = parts[0] + "/" + parts[1]
	}
	return device.By{Account: r.Caller.Account, User: r.Caller.User, Source: path}
}

// customer returns the number of an account.
func (d *Door) customer(ctx context.Context, sid string) (int64, error) {
	d.mu.Lock()
	id, ok := d.customers[sid]
	d.mu.Unlock()
	if ok {
		return id, nil
	}
	var c account.Customer
	if err := d.o.DB.Read(ctx, func(q db.Query) (err error) {
		c, err = d.o.Accounts.Customer(ctx, q, sid)
		return err
	}); err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.customers[sid] = c.ID
	return c.ID, nil
}

// home lists the resources.
func (d *Door) home(w http.ResponseWriter, r *web.Request) error {
	out := map[string]string{}
	for _, route := range d.Routes {
		name, isTop := strings.CutPrefix(route.Path, beginning)
		if isTop && !strings.Contains(name, "/") {
			out[name+"_uri"] = route.Path
		}
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

// summary names the requests of a resource that have no variable in their path.
func (d *Door) summary(w http.ResponseWriter, r *web.Request) error {
	out := map[string]string{}
	for _, route := range d.Routes {
		rest, ours := strings.CutPrefix(route.Path, r.Route.Path+"/")
		if !ours || strings.Contains(rest, "{") {
			continue
		}
		out[strings.ReplaceAll(rest, "/", "_")+"_uri"] = route.Path
	}
	return web.WriteJSON(w, http.StatusOK, out)
}

// routes is the table of the door.
func (d *Door) routes() web.Routes {
	all := slices.Concat(d.homeRoutes(), d.deviceRoutes(), d.codeRoutes(), d.esimRoutes(), d.profileRoutes(), d.jobRoutes(), d.monitorRoutes(), d.extensionRoutes(), d.userRoutes())
	for _, r := range all {
		for method, h := range maps.Clone(r.Methods) {
			r.Methods[method] = withoutCache(h)
		}
	}
	return all
}

// withoutCache keeps answers, which are private and change, out of caches.
func withoutCache(h web.Handler) web.Handler {
	return func(w http.ResponseWriter, r *web.Request) error {
		w.Header().Set("Cache-Control", "no-store")
		return h(w, r)
	}
}

func (d *Door) homeRoutes() web.Routes {
	return web.Routes{{Path: root, Methods: map[string]web.Handler{http.MethodGet: d.reading(d.home)}}}
}
