package agentapi

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"godwit/db"
	"godwit/fault"
)

// tokenPrefix begins every token, so that one that has got lost is recognised.
const tokenPrefix = "agt_"

// newToken makes a token of 256 bits.
func newToken() (token string, hash []byte) {
	var b [32]byte
	rand.Read(b[:])
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(b[:])
	return token, hashOf(token)
}

// hashOf is what is kept of a token. A token is too random to be guessed, so a
// plain hash does, and looking it up compares nothing bit by bit.
func hashOf(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return h[:]
}

// bearer returns the token of a request.
func bearer(r *http.Request) (string, bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer")
}

var errToken = fault.New(fault.Unauthorized, "the token is none of an agent's, or was replaced: enrol again")

// An agent is one that has proved itself.
type agent struct {
	Device, Account string
	previous        bool // by the token before the present one
}

// find returns the agent with a token.
func (d *Door) find(ctx context.Context, q db.Query, token string) (a agent, err error) {
	if !strings.HasPrefix(token, tokenPrefix) {
		return a, errToken
	}
	hash := hashOf(token)
	var enrolled int64
	err = q.QueryRowContext(ctx, `select device_id, account_sid, token_hash <> $1, enrolled_at from agent where token_hash = $1 or previous_hash = $1`, hash).
		Scan(&a.Device, &a.Account, &a.previous, &enrolled)
	if errors.Is(err, sql.ErrNoRows) {
		return a, errToken
	}
	if err != nil {
		return a, fmt.Errorf("read agent: %w", err)
	}
	// Who took the device away took the agent's word with it.
	err = d.o.Devices.Belongs(ctx, q, a.Account, a.Device)
	if fault.Is(err, fault.NotFound) || err == nil && enrolled == 0 {
		return a, fault.New(fault.Unauthorized, "device %s is no longer registered: enrol again with a user's credentials or the install code", a.Device)
	}
	return a, err
}

// Forget ends the tokens of a device that was deleted: one that is registered
// with its ID later is to prove itself anew.
func (d *Door) Forget(ctx context.Context, tx *db.Tx, device string) error {
	if _, err := tx.ExecContext(ctx, `update agent set enrolled_at = 0 where device_id = $1`, device); err != nil {
		return fmt.Errorf("forget agent of %s: %w", device, err)
	}
	return nil
}

// remote is the address that a request came from, without its port.
func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
