package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"godwit/db/dbtest"
)

// TestMonitorKilled kills the server again and again while devices are
// registered and the target of a persistent monitor comes and goes: the target
// learns of every device, in the order of their registration.
func TestMonitorKilled(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		var mu sync.Mutex
		var told []string // devices as they were told of first
		seen := map[string]bool{}
		news := make(chan struct{}, 1)
		var away atomic.Bool
		target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var body struct {
				Document struct {
					Msg []struct{ Devices struct{ ID string } }
				}
			}
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				return // the server was killed in the middle of it
			}
			if away.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for _, m := range body.Document.Msg {
				if !seen[m.Devices.ID] {
					told = append(told, m.Devices.ID)
				}
				seen[m.Devices.ID] = true
			}
			select {
			case news <- struct{}{}:
			default:
			}
		}))
		t.Cleanup(target.Close)

		p := startServer(t, databaseFlag(url), "--callback-allow", "127.0.0.0/8")
		if status := p.manage(http.MethodPost, "/monitors/inventory", map[string]any{
			"type": "http", "url": target.URL, "topics": []string{"devices"}, "persistent": true, "batch_size": 5, "batch_duration": 0,
		}, nil); status != http.StatusCreated {
			t.Fatalf("monitor: %d", status)
		}
		const count = 60
		for n := range count {
			switch n {
			case 10, 25, 40:
				p.kill()
				p.start()
			case 20, 45:
				away.Store(true)
			case 30, 50:
				away.Store(false)
			}
			if status := p.manage(http.MethodPost, "/devices/inventory", map[string]any{"id": fmt.Sprintf("00000000-00000000-00000001-%08X", n)}, nil); status != http.StatusCreated {
				t.Fatalf("device %d: %d", n, status)
			}
		}
		p.kill()
		p.start()
		for deadline := time.After(2 * time.Minute); ; {
			mu.Lock()
			complete := len(told) >= count
			mu.Unlock()
			if complete {
				break
			}
			select {
			case <-news:
			case <-deadline:
				t.Fatalf("%d of %d devices were told of within two minutes", len(told), count)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		for n, id := range told {
			if want := fmt.Sprintf("00000000-00000000-00000001-%08X", n); id != want {
				t.Fatalf("device %d that was told of is %s, want %s", n, id, want)
			}
		}
	})
}
