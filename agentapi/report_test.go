package agentapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
)

// TestStrangersDoNotWrite: whoever has no token of ours is told so while somebody
// writes, and never writes.
func TestStrangersDoNotWrite(t *testing.T) {
	d := dbtest.SQLite(t)
	door := New(Options{DB: d})
	if err := d.Write(t.Context(), func(*db.Tx) error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // a writer would wait for itself
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, Root+"report", strings.NewReader("{}"))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+tokenPrefix+"stranger")
		a := httptest.NewRecorder()
		door.ServeHTTP(a, r)
		if a.Code != http.StatusUnauthorized {
			t.Errorf("%d %s", a.Code, a.Body)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
