package device

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
	"godwit/rsp"
)

// secrets are what an activation code hides.
type secrets struct {
	Code         string `json:"code"` // LPA:1$…
	Confirmation string `json:"confirmation,omitempty"`
	required     bool
}

func (sec secrets) needsConfirmation() bool { return sec.required && sec.Confirmation == "" }

// parseSecret checks an activation code, with or without "LPA:".
func parseSecret(code, confirmation db.Secret) (secrets, error) {
	c, err := rsp.ParseActivationCode(string(code))
	if err != nil {
		return secrets{}, fault.Field("activation_code", "%v", err)
	}
	if len(confirmation) > maxText {
		return secrets{}, fault.Field("confirmation_code", "must have at most %d bytes", maxText)
	}
	return secrets{Code: c.QR(), Confirmation: string(confirmation), required: c.CodeRequired}, nil
}

// codeAdvice says what its owner can do where a code is not available.
var codeAdvice = map[CodeStatus]string{
	CodeReserved:   "another download has it",
	CodeDownloaded: "delete it and register a new one",
	CodeSpent:      "register it again with a new activation_code",
}

// A CodePatch registers an activation code or changes one.
type CodePatch struct {
	ICCID            ident.ICCID
	Carrier          *string
	ActivationCode   db.Secret // nil: as it was
	ConfirmationCode db.Secret // nil: as it was
}

const selectCode = `select iccid, account_sid, carrier, normalized_carrier, status, confirmation, device_id, eid, coalesce(tx, ''), created_at, updated_at from activation_code c`

func scanCode(r db.Row, more ...any) (c Code, err error) {
	var created, updated int64
	err = r.Scan(append([]any{&c.ICCID, &c.Account, &c.Carrier, &c.NormalizedCarrier, &c.Status, &c.Confirmation, &c.Device, &c.EID, &c.tx, &created, &updated}, more...)...)
	c.CreatedAt, c.UpdatedAt = moment(created), later(moment(updated), moment(created))
	return c, err
}

// codeOf finds the registered code of a profile, whichever way its ICCID is
// written.
func codeOf(ctx context.Context, tx *db.Tx, account string, iccid ident.ICCID) (Code, error) {
	in, args := placeholders(2, spellings(iccid))
	c, err := codeTable.one(ctx, tx, `where account_sid = $1 and iccid in (`+in+`) order by length(iccid) limit 1`+tx.ForUpdate(),
		append([]any{account}, args...)...)
	if err != nil && !db.None(err) {
		return c, fmt.Errorf("read activation code of %s: %w", iccid, err)
	}
	return c, err
}

// Code returns a registered code of an account.
func (s *Store) Code(ctx context.Context, account string, iccid ident.ICCID) (c Code, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		in, args := placeholders(2, spellings(iccid))
		c, err = codeTable.one(ctx, q, `where account_sid = $1 and iccid in (`+in+`) order by length(iccid) limit 1`, append([]any{account}, args...)...)
		if db.None(err) {
			return fault.New(fault.NotFound, "no activation code is registered for %s", iccid)
		}
		return err
	})
	return c, err
}

// PutCodes registers activation codes, each for itself: what is refused is in
// the answer, in its place. An error is trouble of our own. updateOnly refuses to
// register new ones.
func (s *Store) PutCodes(ctx context.Context, by By, list []CodePatch, updateOnly bool) ([]Put[Code], error) {
	return putEach(ctx, s.DB, list, func(tx *db.Tx, p CodePatch) (Code, bool, error) { return s.putCode(ctx, tx, by, p, updateOnly) })
}

func (s *Store) putCode(ctx context.Context, tx *db.Tx, by By, p CodePatch, updateOnly bool) (c Code, created bool, err error) {
	iccid, err := ParseICCID(string(p.ICCID))
	if err != nil {
		return c, false, fault.Field("iccid", "%v", err)
	}
	c, err = codeOf(ctx, tx, by.Account, iccid)
	created = db.None(err)
	switch {
	case err != nil && !created:
		return c, false, err
	case created && updateOnly:
		return c, false, fault.New(fault.NotFound, "no activation code is registered for %s", iccid)
	case created && len(p.ActivationCode) == 0:
		return c, false, fault.Field("activation_code", "is required")
	case created && p.Carrier == nil:
		return c, false, fault.Field("carrier", "is required: the carrier by whose name the code is found")
	case !created && (c.Status == CodeReserved || c.Status == CodeDownloaded):
		return c, false, fault.New(fault.Conflict, "the activation code of %s is %s and cannot be replaced: %s", iccid, c.Status, codeAdvice[c.Status])
	case !created && c.Status == CodeSpent && len(p.ActivationCode) == 0:
		return c, false, fault.New(fault.Conflict, "the activation code of %s is spent: give a new activation_code", iccid)
	}
	if created {
		c = Code{ICCID: iccid, Account: by.Account, Status: CodeAvailable}
	}
	if p.Carrier != nil {
		if err := checkText("carrier", *p.Carrier, maxText); err != nil {
			return c, false, err
		}
		if MatchingKey(*p.Carrier) == "" {
			return c, false, fault.Field("carrier", "must have letters or digits")
		}
		c.Carrier = *p.Carrier
	}
	var sec secrets
	if !created {
		if sec, err = s.secretsOf(ctx, tx, c); err != nil {
			return c, false, err
		}
	}
	if len(p.ActivationCode) > 0 || p.ConfirmationCode != nil {
		code, confirmation := p.ActivationCode, p.ConfirmationCode
		if len(code) == 0 {
			code = db.Secret(sec.Code)
		}
		if confirmation == nil && len(p.ActivationCode) == 0 {
			confirmation = db.Secret(sec.Confirmation)
		}
		if sec, err = parseSecret(code, confirmation); err != nil {
			return c, false, err
		}
	}
	c.Status, c.Confirmation, c.Device, c.EID = CodeAvailable, sec.Confirmation != "", "", ""
	if err := s.storeCode(ctx, tx, &c, sec, created); err != nil {
		return c, false, err
	}
	kind := "activation_code.updated"
	if created {
		kind = "activation_code.created"
	}
	return c, created, s.record(ctx, tx, event.Event{Kind: kind, Subject: string(c.ICCID), Account: c.Account, Data: by.data(map[string]any{"carrier": c.Carrier, "status": c.Status})})
}

func (s *Store) storeCode(ctx context.Context, tx *db.Tx, c *Code, sec secrets, create bool) error {
	name, err := carrierOf(ctx, tx, c.Account, c.Carrier)
	if err != nil {
		return err
	}
	plain, err := json.Marshal(sec)
	if err != nil {
		return fmt.Errorf("write activation code: %w", err)
	}
	c.NormalizedCarrier, c.UpdatedAt = name.Normal, later(s.now(), c.UpdatedAt)
	args := []any{
		c.Account, string(c.ICCID), name.Name, name.Folded, name.Key, name.Normal, name.NormalFolded, s.DB.Seal(codeRow(*c), plain), c.Confirmation,
		string(c.Status), c.UpdatedAt.UnixMicro(),
	}
	if !create {
		_, err := exec(ctx, tx, "store activation code", `update activation_code set carrier = $3, carrier_folded = $4, carrier_key = $5, normalized_carrier = $6,
			normalized_folded = $7, secret = $8, confirmation = $9, status = $10, tx = null, device_id = '', eid = '', ended_at = 0, updated_at = $11
			where account_sid = $1 and iccid = $2`, args...)
		return err
	}
	at, err := s.insert(ctx, tx, "activation code", `insert into activation_code (account_sid, iccid, carrier, carrier_folded, carrier_key, normalized_carrier,
		normalized_folded, secret, confirmation, status, updated_at, tx, device_id, eid, ended_at, created_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, null, '', '', 0, $12) on conflict do nothing`, args...)
	c.CreatedAt = moment(at)
	c.UpdatedAt = later(c.UpdatedAt, c.CreatedAt)
	return err
}

func codeRow(c Code) string { return "activation_code/" + c.Account + "/" + string(c.ICCID) }

func (s *Store) secretsOf(ctx context.Context, q db.Query, c Code) (sec secrets, err error) {
	var sealed []byte
	if err := q.QueryRowContext(ctx, `select secret from activation_code where account_sid = $1 and iccid = $2`, c.Account, string(c.ICCID)).Scan(&sealed); err != nil {
		return sec, fmt.Errorf("read activation code of %s: %w", c.ICCID, err)
	}
	plain, err := s.DB.Unseal(codeRow(c), sealed)
	if err != nil {
		return sec, err
	}
	if err := json.Unmarshal(plain, &sec); err != nil {
		return sec, fmt.Errorf("read activation code of %s: %w", c.ICCID, err)
	}
	parsed, err := rsp.ParseActivationCode(sec.Code)
	if err != nil {
		return sec, fmt.Errorf("read activation code of %s: %w", c.ICCID, err)
	}
	sec.required = parsed.CodeRequired
	return sec, nil
}

// DeleteCode removes a registered code that no download has.
func (s *Store) DeleteCode(ctx context.Context, by By, iccid ident.ICCID) error {
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		c, err := codeOf(ctx, tx, by.Account, iccid)
		if db.None(err) {
			return fault.New(fault.NotFound, "no activation code is registered for %s", iccid)
		}
		if err != nil {
			return err
		}
		if c.Status == CodeReserved {
			return fault.New(fault.Conflict, "the activation code of %s is reserved for a download", iccid)
		}
		if _, err := exec(ctx, tx, "delete activation code", `delete from activation_code where account_sid = $1 and iccid = $2`, c.Account, string(c.ICCID)); err != nil {
			return err
		}
		return s.record(ctx, tx, event.Event{Kind: "activation_code.deleted", Subject: string(c.ICCID), Account: c.Account, Data: by.data(nil)})
	})
}

// nextCode finds the oldest available code of a carrier, passing over those that
// others are taking at this moment. Each of the carrier's names is looked for by
// itself: of several at a time the database would sort all codes.
func nextCode(ctx context.Context, tx *db.Tx, account string, keys []string) (c Code, err error) {
	const oldest = `where account_sid = $1 and status = 'available' and carrier_key = $2 order by created_at limit 1`
	since := map[string]time.Time{}
	for _, key := range keys {
		c, err := codeTable.one(ctx, tx, oldest, account, key)
		if err == nil {
			since[key] = c.CreatedAt
		} else if !db.None(err) {
			return c, fmt.Errorf("look for an activation code: %w", err)
		}
	}
	err = sql.ErrNoRows
	for _, key := range slices.SortedFunc(maps.Keys(since), func(a, b string) int { return since[a].Compare(since[b]) }) {
		if c, err = codeTable.one(ctx, tx, oldest+tx.SkipLocked(), account, key); !db.None(err) {
			break
		}
	}
	if err != nil && !db.None(err) {
		return c, fmt.Errorf("look for an activation code: %w", err)
	}
	return c, err
}

// reserve gives a code to a transaction that is about to start.
func (s *Store) reserve(ctx context.Context, tx *db.Tx, c Code, t *Transaction) (secrets, error) {
	if !c.Status.CanBecome(CodeReserved) {
		return secrets{}, fmt.Errorf("activation code of %s cannot be reserved: it is %s", c.ICCID, c.Status)
	}
	sec, err := s.secretsOf(ctx, tx, c)
	if err != nil {
		return sec, err
	}
	t.ID = newUUID()
	t.codeICCID, t.codeCarrier = c.ICCID, c.Carrier
	n, err := exec(ctx, tx, "reserve activation code", `update activation_code set status = 'reserved', tx = $3, device_id = $4, eid = $5, updated_at = $6
		where account_sid = $1 and iccid = $2 and status = 'available'`,
		c.Account, string(c.ICCID), t.ID, string(t.Device), string(t.EID), later(s.now(), c.UpdatedAt).UnixMicro())
	if err != nil {
		return sec, err
	}
	if n != 1 {
		return sec, fmt.Errorf("activation code of %s was taken by another", c.ICCID)
	}
	return sec, s.record(ctx, tx, event.Event{Kind: "activation_code.reserved", Subject: string(c.ICCID), Account: c.Account, Data: map[string]any{"tx": t.ID, "eid": t.EID, "device_id": t.Device}})
}

// settleCode says what became of the code that a transaction had, if it still is
// this transaction's.
func (s *Store) settleCode(ctx context.Context, tx *db.Tx, t *Transaction, unreached bool) error {
	if t.codeICCID == "" {
		return nil
	}
	c, err := codeTable.one(ctx, tx, `where account_sid = $1 and iccid = $2 and tx = $3`+tx.ForUpdate(), t.Account, string(t.codeICCID), t.ID)
	if db.None(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read activation code of %s: %w", t.codeICCID, err)
	}
	to := CodeSpent
	switch {
	case t.Status == TxComplete:
		to = CodeDownloaded
	case unreached && (t.Status == TxFailed || t.Status == TxUnknown):
		to = CodeAvailable
	}
	if err := s.moveCode(ctx, tx, c, to, t.ID); err != nil || to != CodeDownloaded || s.ForgetCodes {
		return err
	}
	return rememberCode(ctx, tx, t.EID, t.ICCID, c.Carrier)
}

// moveCode takes a code one step of its life, if that is one: for the download
// with the ID, or for none.
func (s *Store) moveCode(ctx context.Context, tx *db.Tx, c Code, to CodeStatus, id string) error {
	if !c.Status.CanBecome(to) {
		return nil
	}
	now := later(s.now(), c.UpdatedAt).UnixMicro()
	statement, args := `update activation_code set status = $3, ended_at = $4, updated_at = $4, device_id = $5, eid = $6 where account_sid = $1 and iccid = $2`,
		[]any{c.Account, string(c.ICCID), string(to), now, string(c.Device), string(c.EID)}
	if to == CodeAvailable {
		statement, args = `update activation_code set status = $3, ended_at = 0, updated_at = $4, tx = null, device_id = '', eid = '' where account_sid = $1 and iccid = $2`, args[:4]
	}
	if _, err := exec(ctx, tx, "store activation code", statement, args...); err != nil {
		return err
	}
	data := map[string]any{"from": c.Status, "to": to}
	if id != "" {
		data["tx"] = id
	}
	return s.record(ctx, tx, event.Event{Kind: "activation_code." + string(to), Subject: string(c.ICCID), Account: c.Account, Data: data})
}

// rememberCode lets a profile be found by the carrier of the code that it came
// with.
func rememberCode(ctx context.Context, tx *db.Tx, eid ident.EID, iccid ident.ICCID, carrier string) error {
	in, args := placeholders(4, spellings(iccid))
	_, err := exec(ctx, tx, "remember code", `update device_profile set code_carrier = $2, code_key = $3 where eid = $1 and iccid in (`+in+`)`,
		append([]any{string(eid), carrier, MatchingKey(carrier)}, args...)...)
	return err
}
