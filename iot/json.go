package iot

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"godwit/ident"
	"godwit/rsp"
	"godwit/tlv"
)

// The JSON binding of ESipa: each function at a path of its own. Octets are base64
// of whole DER elements, as in the JSON binding of ES9+. Peers spell members
// differently: names are compared without regard to letter case, and known other
// names are understood. SGP.32 v1.2, 6.4.

// Names of the functions. Those of ES9+ have the names that they have there.
const (
	FnGetEimPackage = "getEimPackage"
	FnProvideResult = "provideEimPackageResult"
)

// Names of members, the first the one that is written.
var (
	nameEID          = []string{"eidValue", "eid"}
	nameStateChange  = []string{"notifyStateChange", "stateChange"}
	nameCause        = []string{"stateChangeCause"}
	nameRPLMN        = []string{"rPLMN"}
	namePackage      = []string{"euiccPackageRequest", "euiccPackage"}
	nameData         = []string{"ipaEuiccDataRequest", "ipaEuiccData"}
	nameTrigger      = []string{"profileDownloadTriggerRequest", "profileDownloadTrigger"}
	nameGetError     = []string{"eimPackageError", "error"}
	nameResult       = []string{"eimPackageResult", "provideEimPackageResult"}
	nameProvide      = []string{"provideEimPackageResult", "eimPackageResult"}
	nameAcknowledged = []string{"eimAcknowledgements", "eimAcknowledgement", "acknowledgements"}
	nameProvideError = []string{"provideEimPackageResultError", "eimPackageError", "error"}
	nameNotification = []string{"pendingNotification", "notification"}
	nameOrder        = []string{"eimTransactionId"}
	nameRun          = []string{"transactionId"}
	nameChallenge    = []string{"euiccChallenge"}
	nameAddress      = []string{"smdpAddress"}
	nameInfo1        = []string{"euiccInfo1"}
	nameSigned1      = []string{"serverSigned1"}
	nameSignature1   = []string{"serverSignature1"}
	nameCI           = []string{"euiccCiPKIdToBeUsed", "euiccCiPKIdentifierToBeUsed"}
	nameCertificate  = []string{"serverCertificate"}
	nameMatchingID   = []string{"matchingId"}
	nameContext      = []string{"ctxParams1"}
	nameServer       = []string{"authenticateServerResponse"}
	nameMetadata     = []string{"profileMetadata"}
	nameSigned2      = []string{"smdpSigned2"}
	nameSignature2   = []string{"smdpSignature2"}
	nameBinding      = []string{"smdpCertificate"}
	nameHashedCode   = []string{"hashCc"}
	namePrepare      = []string{"prepareDownloadResponse"}
	nameBound        = []string{"boundProfilePackage"}
	nameCancel       = []string{"cancelSessionResponse"}
)

// A members is an object of JSON as it is read: the first failure sticks.
type members struct {
	values map[string]json.RawMessage
	err    error
}

// folder is made once: making one costs as much as a whole poll.
var folder = strings.NewReplacer("_", "", "-", "")

// fold takes out what peers write differently in a name.
func fold(name string) string { return folder.Replace(strings.ToLower(name)) }

func parseMembers(body []byte) *members {
	m := &members{values: map[string]json.RawMessage{}}
	var object map[string]json.RawMessage
	if m.err = json.Unmarshal(body, &object); m.err != nil {
		return m
	}
	for name, value := range object {
		m.values[fold(name)] = value
	}
	return m
}

func (m *members) find(names []string) (json.RawMessage, bool) {
	for _, name := range names {
		if v, ok := m.values[fold(name)]; ok && !bytes.Equal(v, []byte("null")) {
			return v, true
		}
	}
	return nil, false
}

func (m *members) fail(names []string, err error) {
	if m.err == nil && err != nil {
		m.err = fmt.Errorf("member %s: %w", names[0], err)
	}
}

func (m *members) text(names []string) string {
	v, ok := m.find(names)
	if !ok {
		return ""
	}
	var s string
	m.fail(names, json.Unmarshal(v, &s))
	return s
}

func (m *members) number(names []string) *int64 {
	v, ok := m.find(names)
	if !ok {
		return nil
	}
	var n int64
	err := json.Unmarshal(bytes.Trim(v, `"`), &n)
	m.fail(names, err)
	return &n
}

// flag reads a boolean; NULL of the module is also written as an empty string or
// an empty object, and then its presence counts.
func (m *members) flag(names []string) bool {
	v, ok := m.find(names)
	return ok && !bytes.Equal(v, []byte("false")) && !bytes.Equal(v, []byte("0")) && !bytes.Equal(v, []byte(`"false"`))
}

// octets reads base64, nil when the member is missing or empty.
func (m *members) octets(names []string) []byte {
	s := m.text(names)
	if s == "" {
		return nil
	}
	b, err := decodeBase64(s)
	m.fail(names, err)
	return b
}

var plainBase64 = strings.NewReplacer("-", "+", "_", "/", "\r", "", "\n", "")

func decodeBase64(s string) ([]byte, error) {
	s = plainBase64.Replace(strings.TrimRight(s, "="))
	return base64.RawStdEncoding.DecodeString(s)
}

// element reads base64 of one whole element.
func (m *members) element(names []string) []byte {
	b := m.octets(names)
	if b == nil {
		return nil
	}
	if _, err := tlv.Parse(b); err != nil {
		m.fail(names, err)
		return nil
	}
	return b
}

// run reads a transaction identifier of an SM-DP+, in hexadecimal.
func (m *members) run(names []string) rsp.TransactionID {
	s := m.text(names)
	if s == "" {
		return rsp.TransactionID{}
	}
	id, err := rsp.ParseTransactionID(s)
	m.fail(names, err)
	return id
}

func (m *members) eid() (ident.EID, error) {
	s := m.text(nameEID)
	switch {
	case s == "":
		return "", nil
	case ident.EIDForm(s) != nil:
		return "", ErrInvalidEID
	}
	return ident.EID(s), nil
}

// ParseJSONRequest reads the request of a function. The result is what
// [ParseASN1Request] returns.
func ParseJSONRequest(function string, body []byte) (any, error) {
	m := parseMembers(body)
	q, err := m.request(function)
	if m.err != nil {
		return nil, fmt.Errorf("read ESipa request %s: %w", function, m.err)
	}
	return q, wrap("read ESipa request "+function, err)
}

func (m *members) request(function string) (any, error) {
	if m.err != nil {
		return nil, nil
	}
	switch function {
	case FnGetEimPackage:
		q := &GetEimPackageRequest{StateChanged: m.flag(nameStateChange), Cause: m.number(nameCause)}
		var err error
		if q.EID, err = m.eid(); err == nil && q.EID == "" {
			err = ErrMissingEID
		}
		if q.RPLMN = m.plmn(); q.RPLMN != nil && len(q.RPLMN) != 3 {
			m.fail(nameRPLMN, fmt.Errorf("%w: a network has 3 octets, not %d", tlv.ErrValue, len(q.RPLMN)))
		}
		return q, err
	case FnProvideResult:
		q := m.result(nameResult)
		if q == nil {
			m.fail(nameResult, tlv.ErrMissing)
			return nil, nil
		}
		id, err := m.eid()
		if id != "" {
			q.EID = id
		}
		return q, err
	case rsp.FnHandleNotification:
		q := &HandleNotification{Notification: m.element(nameNotification)}
		if q.Notification == nil {
			if q.Result = m.result(nameProvide); q.Result == nil {
				m.fail(nameNotification, tlv.ErrMissing)
			}
		}
		return q, nil
	case rsp.FnInitiateAuthentication:
		q := &InitiateAuthenticationRequest{
			EUICCChallenge: m.octets(nameChallenge), SMDPAddress: m.text(nameAddress), EUICCInfo1: m.element(nameInfo1),
			TransactionID: m.order(),
		}
		if len(q.EUICCChallenge) != rsp.ChallengeSize {
			m.fail(nameChallenge, fmt.Errorf("%w: a challenge has %d octets, not %d", tlv.ErrValue, rsp.ChallengeSize, len(q.EUICCChallenge)))
		}
		return q, nil
	case rsp.FnAuthenticateClient:
		return &AuthenticateClientRequest{m.required(), m.element(nameServer)}, nil
	case rsp.FnGetBoundProfilePackage:
		return &GetBoundProfilePackageRequest{m.required(), m.element(namePrepare)}, nil
	case rsp.FnCancelSession:
		return &CancelSessionRequest{m.required(), m.element(nameCancel)}, nil
	}
	return nil, fmt.Errorf("%w: no function of ESipa", tlv.ErrTag)
}

// result reads an EimPackageResult, or a whole ProvideEimPackageResult in its
// place.
func (m *members) result(names []string) *ProvideEimPackageResult {
	raw := m.element(names)
	if raw == nil {
		return nil
	}
	e, err := tlv.Parse(raw)
	if err == nil && e.Tag == TagProvideResult {
		q, err := readProvideEimPackageResult(e)
		if q == nil {
			m.fail(names, err)
		}
		return q
	}
	q := &ProvideEimPackageResult{}
	if err == nil {
		err = q.readResult(e)
	}
	m.fail(names, err)
	return q
}

// required reads the transaction identifier that must be there.
func (m *members) required() rsp.TransactionID {
	id := m.run(nameRun)
	if id.IsZero() {
		m.fail(nameRun, tlv.ErrMissing)
	}
	return id
}

// order reads the eIM's transaction identifier: hexadecimal, or base64 where it
// cannot be that.
func (m *members) order() []byte {
	s := m.text(nameOrder)
	if s == "" {
		return nil
	}
	if id, err := rsp.ParseTransactionID(s); err == nil {
		return id.Octets()
	}
	b, err := decodeBase64(s)
	if err == nil && (len(b) == 0 || len(b) > 16) {
		err = fmt.Errorf("%w: a transaction identifier has 1 to 16 octets, not %d", tlv.ErrValue, len(b))
	}
	m.fail(nameOrder, err)
	return b
}

// plmn reads the network: six hexadecimal digits or base64 of three octets.
func (m *members) plmn() []byte {
	s := m.text(nameRPLMN)
	if s == "" {
		return nil
	}
	if len(s) == 6 {
		if id, err := rsp.ParseTransactionID(s); err == nil {
			return id.Octets()
		}
	}
	b, err := decodeBase64(s)
	m.fail(nameRPLMN, err)
	return b
}

// An object is JSON as it is written. Members whose value is nothing are left out.
type object struct{ values map[string]any }

func newObject() object { return object{map[string]any{}} }

func (o object) octets(names []string, b []byte) object {
	if b != nil {
		o.values[names[0]] = b // encoding/json writes base64
	}
	return o
}

func (o object) text(names []string, s string) object {
	if s != "" {
		o.values[names[0]] = s
	}
	return o
}

func (o object) run(id rsp.TransactionID) object { return o.text(nameRun, id.String()) }

func (o object) encode() []byte {
	b, err := json.Marshal(o.values)
	if err != nil {
		panic(fmt.Sprintf("iot: %v", err)) // strings, numbers and octets only
	}
	return b
}
