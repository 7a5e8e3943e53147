package db_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"godwit/db/dbtest"
)

// TestWatchClock has the program's clock wrong: too late, too early, not by much.
func TestWatchClock(t *testing.T) {
	was := slog.Default()
	defer slog.SetDefault(was)
	for _, tt := range []struct {
		name  string
		wrong time.Duration
		warns bool
	}{
		{"as the server's", 0, false},
		{"a second ahead", time.Second, false},
		{"an hour ahead", time.Hour, true},
		{"an hour behind", -time.Hour, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := dbtest.Postgres(t)
			var said bytes.Buffer
			slog.SetDefault(slog.New(slog.NewTextHandler(&said, nil)))
			ctx, stop := context.WithCancel(t.Context())
			times := 0
			err := d.WatchClock(ctx, func() time.Time {
				if times++; times == 2 { // before the question and after it
					stop()
				}
				return time.Now().Add(tt.wrong)
			})
			if warned := strings.Contains(said.String(), "level=WARN") && strings.Contains(said.String(), "NTP"); err != nil || warned != tt.warns {
				t.Errorf("warned: %v, %v\n%s", warned, err, said.String())
			}
		})
	}
	if err := dbtest.SQLite(t).WatchClock(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
