package ipa

import (
	"cmp"
	"crypto"
	"errors"
	"fmt"
	"slices"

	"godwit/ident"
	"godwit/iot"
	"godwit/lpa"
	"godwit/pki"
	"godwit/rsp"
)

// FirstResult is the number of the first result of an emulated chip. The numbers
// of notifications come from the eUICC and stay below it, so that an
// acknowledgement names one or the other.
const FirstResult = 1 << 30

// Consumer makes a consumer eUICC of SGP.22 serve an eIM: what SGP.32 wants of a
// chip and this one lacks is done here. The eIM's signature is verified with the
// associations that are kept in the journal, operations become functions of
// ES10b and ES10c, and results are signed with key, which is the device's and
// not the chip's: the eIM has to know it. [FileJournal] says what survives a
// loss of power; whatever it interrupts is finished at the next call.
func Consumer(card lpa.Card, j Journal, key crypto.Signer) (Chip, error) {
	chip, err := lpa.OpenChip(card)
	if err != nil {
		return nil, err
	}
	eid, err := chip.EID()
	if err != nil {
		return nil, errors.Join(err, chip.Close())
	}
	c := &consumer{lpa: chip, eid: eid, key: key, journal: j, stale: true}
	if err := c.fresh(); err != nil {
		return nil, errors.Join(err, chip.Close())
	}
	return c, nil
}

// A consumer is an emulated SGP.32 chip.
type consumer struct {
	lpa     *lpa.Chip
	eid     ident.EID
	key     crypto.Signer
	journal Journal

	state chipState
	stale bool // the journal knows better than state
}

// chipState is what an SGP.32 eUICC keeps and a consumer eUICC does not.
type chipState struct {
	EID       ident.EID
	Sequence  int64 // of the last result
	LastToken int64
	Eims      []association
	Results   []storedResult      // oldest first
	Running   *running            // a package that is being executed
	Armed     *armed              // the last package may be rolled back
	Switch    *profileSwitch      // a change of profiles outside of packages that is under way
	Fallback  ident.ICCID         // has the fallback attribute
	Return    *ident.ICCID        // set in fallback: where to return to; empty: no profile was enabled
	Immediate iot.ImmediateEnable // as configured
	EUM       []byte              // certificates, once a notification has shown them
	EUICC     []byte
}

// An association is an eIM that may send packages.
type association struct {
	Config  []byte // EimConfigurationData, DER
	Counter int64  // of the last package
	Token   *int64
}

type storedResult struct {
	Sequence int64
	Raw      []byte // BF51
}

// running is a package on its way. Doing marks a command that may have been
// carried out when its result is not there yet.
type running struct {
	Package  []byte
	Token    *int64 // of the association when the package came
	Results  []iot.OpResult
	Doing    bool
	Previous ident.ICCID // enabled before an enable
	Enabled  ident.ICCID // by an enable with rollback
}

// armed remembers how to undo an enable.
type armed struct {
	Package  []byte
	Token    *int64
	Results  []iot.OpResult
	Sequence int64
	Previous ident.ICCID // empty: none was enabled
	Enabled  ident.ICCID
}

func (c *consumer) EID() ident.EID { return c.eid }
func (c *consumer) LPA() *lpa.Chip { return c.lpa }

// fresh brings state up to the journal when the last attempt to save left doubt.
func (c *consumer) fresh() error {
	if !c.stale {
		return nil
	}
	state := chipState{EID: c.eid, Sequence: FirstResult - 1}
	if err := load(c.journal, &state); err != nil {
		return err
	}
	if state.EID != c.eid {
		return fmt.Errorf("the journal is that of eUICC %s, and this is %s", state.EID, c.eid)
	}
	c.state, c.stale = state, false
	return nil
}

func (c *consumer) save() error {
	err := save(c.journal, &c.state)
	c.stale = err != nil
	return err
}

// settle finishes what a loss of power, or an error of the card, interrupted.
func (c *consumer) settle() error {
	if err := c.fresh(); err != nil {
		return err
	}
	if c.state.Running != nil {
		if _, err := c.run(); err != nil {
			return err
		}
	}
	if c.state.Switch != nil {
		return c.carryOut()
	}
	return nil
}

// find returns the association with an eIM.
func (c *consumer) find(id string) (int, *iot.EimConfiguration) {
	for i := range c.state.Eims {
		if config, err := iot.ParseEimConfiguration(c.state.Eims[i].Config); err == nil && config.ID == id {
			return i, config
		}
	}
	return -1, nil
}

// LoadPackage goes down the ladder of checks of ES10b.LoadEuiccPackage of SGP.32.
func (c *consumer) LoadPackage(der []byte) ([]byte, error) {
	eim, id, err := iot.ReadPackageHeader(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err := c.settle(); err != nil {
		return nil, err
	}
	refused := &iot.PackageResult{EimID: eim, TransactionID: id, Unsigned: true}
	at, config := c.find(eim)
	if at < 0 {
		return refused.Sign(nil, nil)
	}
	from := &c.state.Eims[at]
	refused.Token = from.Token
	key, err := config.Key()
	if err != nil || key == nil {
		return refused.Sign(nil, nil)
	}
	q, err := iot.VerifyPackageRequest(der, key, from.Token)
	if errors.Is(err, rsp.ErrSignature) {
		return refused.Sign(nil, nil)
	}
	if q == nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if code := cmp.Or(c.judge(q, from), iot.UnreadableCode(err)); code != 0 {
		return (&iot.PackageResult{EimID: eim, Counter: q.Counter, TransactionID: id, ErrorCode: &code}).Sign(c.key, from.Token)
	}
	from.Counter = q.Counter
	c.state.Running = &running{Package: der, Token: from.Token}
	c.state.Armed = nil // the next package is the end of the chance to go back
	if err := c.save(); err != nil {
		return nil, err
	}
	return c.run()
}

// maxResults is how many results wait at most. An eIM that acknowledges nothing
// gets no more done: none that it has not heard is thrown away.
const maxResults = 256

// judge returns the code of a signed error, or 0.
func (c *consumer) judge(q *iot.PackageRequest, from *association) int64 {
	switch {
	case q.EID != c.eid:
		return iot.PackageInvalidEID
	case q.Counter > iot.MaxCounter:
		return iot.PackageCounter
	case q.Counter <= from.Counter:
		return iot.PackageReplay
	case len(c.state.Results) >= maxResults:
		return iot.PackageUndefined
	}
	return 0
}

// run executes what is left of the running package, one saved step after the
// other, and returns its result.
func (c *consumer) run() ([]byte, error) {
	r := c.state.Running
	q, err := iot.ReadPackageRequest(r.Package) // it was verified before it came here
	if err != nil {
		return nil, err
	}
	for i := len(r.Results); i < len(q.PSMO)+len(q.ECO); i++ {
		var o iot.OpResult
		if q.ECO != nil {
			o = c.configure(&q.ECO[i])
		} else if o, err = c.execute(q.PSMO, i); err != nil {
			return nil, err
		}
		r.Results, r.Doing = append(r.Results, o), false
		if o.Terminated {
			break
		}
		if err := c.save(); err != nil {
			return nil, err
		}
	}
	c.state.Sequence++
	der, err := c.sign(q, r.Token, r.Results, c.state.Sequence)
	if err != nil {
		return nil, err
	}
	c.state.Results = append(c.state.Results, storedResult{c.state.Sequence, der})
	if r.Enabled != "" {
		c.state.Armed = &armed{
			Package: r.Package, Token: r.Token, Results: r.Results, Sequence: c.state.Sequence,
			Previous: r.Previous, Enabled: r.Enabled,
		}
	}
	c.state.Running = nil
	return der, c.save()
}

func (c *consumer) sign(q *iot.PackageRequest, token *int64, results []iot.OpResult, sequence int64) ([]byte, error) {
	p := &iot.PackageResult{
		EimID: q.EimID, Counter: q.Counter, TransactionID: q.TransactionID, Sequence: sequence, Results: results,
	}
	return p.Sign(c.key, token)
}

func (c *consumer) Results() ([][]byte, error) {
	if err := c.settle(); err != nil {
		return nil, err
	}
	out := make([][]byte, 0, len(c.state.Results))
	for _, r := range c.state.Results {
		out = append(out, r.Raw)
	}
	return out, nil
}

// Remove forgets a result here, or a notification in the eUICC. A result that
// the eIM has cannot be rolled back any more.
func (c *consumer) Remove(sequence int64) error {
	if sequence < FirstResult {
		return removed(c.lpa.Remove(sequence))
	}
	if err := c.settle(); err != nil {
		return err
	}
	before := len(c.state.Results)
	c.state.Results = slices.DeleteFunc(c.state.Results, func(r storedResult) bool { return r.Sequence == sequence })
	if len(c.state.Results) == before {
		return nil
	}
	if c.state.Armed != nil && c.state.Armed.Sequence == sequence {
		c.state.Armed = nil
	}
	return c.save()
}

// Certificates returns what a notification has shown: ES10 of SGP.22 has no
// function for them.
func (c *consumer) Certificates([]byte) (eum, euicc []byte, err error) {
	if err := c.settle(); err != nil {
		return nil, nil, err
	}
	if c.state.EUICC != nil {
		return c.state.EUM, c.state.EUICC, nil
	}
	list, err := c.lpa.Retrieve(rsp.NotificationFilter{})
	if err != nil {
		return nil, nil, err
	}
	for i := range list {
		if list[i].EUICCCertificate == nil {
			continue
		}
		found, err := pki.ParseCertificate(list[i].EUICCCertificate)
		if err != nil {
			continue
		}
		if eid, err := found.EID(); err != nil || eid != c.eid {
			continue
		}
		c.state.EUM, c.state.EUICC = list[i].EUMCertificate, list[i].EUICCCertificate
		return c.state.EUM, c.state.EUICC, c.save()
	}
	return nil, nil, nil
}
