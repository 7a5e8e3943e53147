package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"godwit/bench"
	"godwit/ident"
)

// A reserver orders profiles as a customer does: over the Super SIM API.
type reserver struct {
	credentials
	http *http.Client
}

// reservation is what the load needs of one.
type reservation struct {
	SID        string           `json:"sid"`
	Status     string           `json:"status"`
	MatchingID ident.MatchingID `json:"matching_id"`
}

func newReserver(ctx context.Context, files dataFlags) (*reserver, error) {
	c, err := files.credentials(ctx)
	if err != nil {
		return nil, err
	}
	return &reserver{*c, &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}, nil
}

// reserve makes a reservation for each download and waits until all are
// available.
func (r *reserver) reserve(ctx context.Context, downloads []bench.Download) (sids []string, err error) {
	sids = make([]string, len(downloads))
	each := func(do func(ctx context.Context, i int) error) error {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(16)
		for i := range downloads {
			g.Go(func() error { return do(ctx, i) })
		}
		return g.Wait()
	}
	if err := each(func(ctx context.Context, i int) error {
		made, err := r.call(ctx, "/v1/ESimProfiles", url.Values{"GenerateMatchingId": {"true"}})
		sids[i] = made.SID
		return err
	}); err != nil {
		return nil, fmt.Errorf("reserve: %w", err)
	}
	return sids, each(func(ctx context.Context, i int) error {
		found, err := r.await(ctx, sids[i], "available")
		downloads[i].MatchingID = found.MatchingID
		return err
	})
}

// await asks for a reservation until it has a status.
func (r *reserver) await(ctx context.Context, sid string, status string) (reservation, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		found, err := r.call(ctx, "/v1/ESimProfiles/"+sid, nil)
		if err != nil || found.Status == status {
			return found, err
		}
		if found.Status == "failed" {
			return found, fmt.Errorf("reservation %s failed while it was to become %s", sid, status)
		}
		select {
		case <-ctx.Done():
			return found, fmt.Errorf("reservation %s is %s and not %s: %w", sid, found.Status, status, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// settled waits until the reservations know how their downloads ended. Reports
// come in order, so the last few stand for all.
func (r *reserver) settled(ctx context.Context, sids []string, clients int) error {
	for _, sid := range slices.Backward(sids[max(0, len(sids)-clients):]) {
		if _, err := r.await(ctx, sid, "installed"); err != nil {
			return err
		}
	}
	return nil
}

// call makes one call of the API; a form makes it a POST.
func (r *reserver) call(ctx context.Context, path string, form url.Values) (found reservation, err error) {
	method := http.MethodGet
	if form != nil {
		method = http.MethodPost
	}
	request, err := http.NewRequestWithContext(ctx, method, r.BaseURL+path, strings.NewReader(form.Encode()))
	if err != nil {
		return found, err
	}
	request.SetBasicAuth(r.AccountSID, r.AuthToken)
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := r.http.Do(request)
	if err != nil {
		return found, err
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		return found, fmt.Errorf("%s %s: HTTP status %s", method, path, response.Status)
	}
	return found, json.NewDecoder(response.Body).Decode(&found)
}
