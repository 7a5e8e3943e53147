package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestServerThatGoesAway has a client wait for an order whose server is killed and
// started again meanwhile: the port is closed, connections break, answers end in
// their middle. What makes something is made again under the same key.
func TestServerThatGoesAway(t *testing.T) {
	keys := map[string]int{}
	calls := 0
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		if r.Method == http.MethodPost {
			keys[r.Header.Get("Idempotency-Key")]++
		}
		switch calls {
		case 1, 3: // the connection breaks
			panic(http.ErrAbortHandler)
		case 2:
			_, _ = io.WriteString(w, `{"sid": "OR1", "status": "processing"}`)
		case 4: // the answer does
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"sid": "OR1", `)
			panic(http.ErrAbortHandler)
		default:
			_, _ = io.WriteString(w, `{"sid": "OR1", "status": "completed"}`)
		}
	})
	// The port is known and closed when the first request comes.
	port, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := port.Addr().String()
	if err := port.Close(); err != nil {
		t.Fatal(err)
	}
	c := &apiClient{base: "http://" + address, key: "once"}
	var o bulkOrder
	attempts := 0
	err = c.insist(t.Context(), func() error {
		if attempts++; attempts == 2 {
			again, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
			if err != nil {
				return fmt.Errorf("listen again: %v", err)
			}
			s := &httptest.Server{Listener: again, Config: &http.Server{Handler: handler}}
			s.Start()
			t.Cleanup(s.Close)
		}
		return c.read(t.Context(), http.MethodPost, ordersPath, "", strings.NewReader("Count=1"), &o)
	})
	if err != nil || o.SID != "OR1" {
		t.Fatalf("%+v %v", o, err)
	}
	if err := c.await(t.Context(), &o, func(bulkOrder) {}); err != nil || !o.ended() {
		t.Errorf("%+v %v", o, err)
	}
	if len(keys) != 1 || keys["once"] != 2 {
		t.Errorf("keys of the orders: %v", keys)
	}
}
