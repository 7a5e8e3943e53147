package lab

import (
	"bytes"
	"encoding/hex"
	"slices"
	"time"

	"godwit/ident"
	"godwit/iot"
	"godwit/ipa"
	"godwit/lpa"
	"godwit/rsp"
)

// A Held is one profile on a chip.
type Held struct {
	ICCID   ident.ICCID
	Enabled bool
}

// A truth is what the lab knows of a chip because it stands beside it.
type truth struct {
	known   bool // enabled is up to date
	enabled ident.ICCID

	installed []ident.ICCID             // each installation that the chip has confirmed, in order
	covered   map[ident.ICCID]time.Time // from when on the profile has a network
	executed  map[string]map[int64]bool // numbers of the results, by eimTransactionId
	back      map[string]bool           // packages that were rolled back
	ever      []ident.ICCID             // profiles that were found enabled
}

// heard hears what the chip says, whether or not the agent lives to hear it.
func (d *Device) heard(answer []byte) {
	if !bytes.HasPrefix(answer, []byte{0xBF, 0x37}) {
		return
	}
	list, err := rsp.ParsePendingNotification(answer)
	if err != nil {
		return
	}
	r, err := rsp.ReadInstallation(list)
	if err != nil || r.Error != 0 {
		return
	}
	d.installed(r.Notification.ICCID)
}

// installed notes that the chip has installed a profile.
func (d *Device) installed(iccid ident.ICCID) {
	t := &d.truth
	t.installed = append(t.installed, iccid)
	if d.lab.calm.Load() || d.plan.Strikes(Profile, uint64(len(t.installed))) != NoCoverage {
		return
	}
	if t.covered == nil {
		t.covered = map[ident.ICCID]time.Time{}
	}
	t.covered[iccid] = time.Time{} // the time begins when it is enabled
}

// covered reports whether the device has a network with the profile that is
// enabled. Without one it has another way, as devices have that come from a
// factory.
func (d *Device) covered() bool {
	t := &d.truth
	if len(t.covered) == 0 {
		return true // the usual case costs nothing
	}
	if !t.known {
		if _, err := d.look(); err != nil {
			return false
		}
	}
	from, poor := t.covered[t.enabled]
	if !poor || d.lab.calm.Load() {
		return true
	}
	if from.IsZero() {
		from = time.Now().Add(d.plan.between("coverage", uint64(len(t.installed)), 2*d.lab.ReachFor, 6*d.lab.ReachFor))
		t.covered[t.enabled] = from
		d.lab.struck(NoCoverage)
	}
	return time.Now().After(from)
}

// look reads what is on the chip, on a channel of its own.
func (d *Device) look() (list []Held, err error) {
	if d.way == nil {
		if err := d.openCard(); err != nil {
			return nil, err
		}
		defer d.shut()
		// Its power had failed, perhaps in the middle of a profile. Power that
		// comes resets it, as at the next start.
		if err := d.way.card.Reset(); err != nil {
			return nil, err
		}
	}
	chip, err := lpa.OpenChip(d.way.card) // not by the way that fails
	if err != nil {
		return nil, err
	}
	defer chip.Close()
	profiles, err := chip.Profiles(rsp.Selector{})
	if err != nil {
		return nil, err
	}
	d.truth.known, d.truth.enabled = true, ""
	for _, p := range profiles {
		h := Held{ICCID: p.ICCID, Enabled: p.Enabled != nil && *p.Enabled}
		if !slices.Contains(d.truth.installed, h.ICCID) { // the power failed before the chip had said it all
			d.installed(h.ICCID)
		}
		if h.Enabled {
			d.truth.enabled = h.ICCID
			if !slices.Contains(d.truth.ever, h.ICCID) {
				d.truth.ever = append(d.truth.ever, h.ICCID)
			}
		}
		list = append(list, h)
	}
	return list, nil
}

// peek returns what a device holds and what the server calls it, if it is not at
// work and has enrolled.
func (d *Device) peek() (id string, held []Held, ok bool) {
	if !d.busy.TryLock() {
		return "", nil, false
	}
	defer d.busy.Unlock()
	if d.agent == nil {
		return "", nil, false
	}
	held, err := d.look()
	return d.agent.DeviceID, held, err == nil
}

// witness returns what the chip has to say.
func (d *Device) witness() (*Witness, error) {
	d.busy.Lock()
	defer d.busy.Unlock()
	w := &Witness{
		EID: d.plan.EID, Name: d.plan.Name, Hopeless: d.plan.Hopeless(),
		Installed: slices.Clone(d.truth.installed), Enabled: slices.Clone(d.truth.ever), Twice: d.twice(),
	}
	for id := range d.truth.back {
		w.Back = append(w.Back, id)
	}
	if d.agent == nil {
		return w, nil // it has never come so far as to have a chip that does something
	}
	var err error
	w.Held, err = d.look()
	return w, err
}

// twice returns the eimTransactionIds of packages that the chip has executed more
// than once.
func (d *Device) twice() (ids []string) {
	for id, numbers := range d.truth.executed {
		most := 1
		if d.truth.back[id] {
			most = 2 // the result of the rollback has a number of its own
		}
		if len(numbers) > most {
			ids = append(ids, id)
		}
	}
	return ids
}

// A watchedChip passes everything on, notes what was done, and damages packages
// that the plan names.
type watchedChip struct {
	ipa.Chip
	device *Device
}

func (c *watchedChip) LoadPackage(der []byte) ([]byte, error) {
	d := c.device
	d.packages++
	if d.plan.Strikes(Package, d.packages) == RefusedPackage && !d.lab.calm.Load() {
		d.lab.struck(RefusedPackage)
		der = bytes.Clone(der)
		der[len(der)-1] ^= 1
	}
	d.truth.known = false
	result, err := c.Chip.LoadPackage(der)
	if err == nil {
		c.note(result)
	}
	// An error of ours is not to hide what the chip has done; look again later.
	_, _ = d.look()
	return result, err
}

func (c *watchedChip) Results() ([][]byte, error) {
	list, err := c.Chip.Results()
	for _, r := range list {
		c.note(r)
	}
	if !c.device.truth.known { // what was interrupted has been finished
		_, _ = c.device.look()
	}
	return list, err
}

func (c *watchedChip) Rollback() ([]byte, error) {
	c.device.truth.known = false
	result, err := c.Chip.Rollback()
	if err == nil {
		c.note(result)
	}
	return result, err
}

func (c *watchedChip) ImmediateEnable(r *lpa.Result) error {
	c.device.truth.known = false
	return c.Chip.ImmediateEnable(r)
}

func (c *watchedChip) ExecuteFallback() error {
	c.device.truth.known = false
	return c.Chip.ExecuteFallback()
}

func (c *watchedChip) ReturnFromFallback() error {
	c.device.truth.known = false
	return c.Chip.ReturnFromFallback()
}

// note counts a result, of a package that was executed.
func (c *watchedChip) note(der []byte) {
	r, err := iot.ReadResult(der)
	if err != nil || r.Unsigned || r.ErrorCode != nil || len(r.TransactionID) == 0 {
		return
	}
	// To look twice does no harm, nor does it to ask again for what was refused.
	if !slices.ContainsFunc(r.Results, func(o iot.OpResult) bool { return o.Op != iot.OpList && o.Code == rsp.ResultOK && !o.Terminated }) {
		return
	}
	t := &c.device.truth
	if t.executed == nil {
		t.executed = map[string]map[int64]bool{}
	}
	id := hex.EncodeToString(r.TransactionID)
	if t.executed[id] == nil {
		t.executed[id] = map[int64]bool{}
	}
	t.executed[id][r.Sequence] = true
	// Where the power fails in a rollback only the chip's result tells of it.
	if slices.ContainsFunc(r.Results, func(o iot.OpResult) bool { return o.Op == iot.OpRollback && o.Code == rsp.ResultOK }) {
		if t.back == nil {
			t.back = map[string]bool{}
		}
		t.back[id] = true
	}
}
