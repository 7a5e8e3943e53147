package euicc

import (
	"bytes"
	"fmt"
	"slices"

	"godwit/saip"
	"godwit/tlv"
)

// A system is the file system of the enabled profile: what the package built,
// with what was changed since laid over it.
type system struct {
	aid []byte // ISD-P of the profile
	fs  *saip.FileSystem
	// Names in the profile's memory. Directories may share codes, applications
	// authentication data: what is shared has one name.
	files map[*saip.File]string
	codes map[*saip.Code]string
	akas  map[*saip.AKA]string
}

// system returns the file system of the enabled profile, or nil without one. A
// profile that cannot be read (its package passed every check when it was
// installed) counts as none.
func (c *Card) system() *system {
	p := c.state.enabled()
	if p == nil {
		c.current = nil
		return nil
	}
	if c.current != nil && bytes.Equal(c.current.aid, p.AID) {
		return c.current
	}
	content, err := c.store.profile(p.Package)
	if err != nil {
		return nil
	}
	sys, err := newSystem(p, content)
	if err != nil {
		return nil
	}
	c.current = sys
	return sys
}

func newSystem(p *profile, content []byte) (*system, error) {
	pkg, err := saip.Parse(content)
	if err != nil {
		return nil, err
	}
	fs, err := pkg.FileSystem()
	if err != nil {
		return nil, err
	}
	sys := &system{
		aid: p.AID, fs: fs,
		files: map[*saip.File]string{}, codes: map[*saip.Code]string{}, akas: map[*saip.AKA]string{},
	}
	fs.Files(sys.name)
	for ref, puk := range fs.PUKs {
		sys.codes[puk] = fmt.Sprintf("PUK#%02X", ref)
	}
	sys.overlay(p)
	return sys, nil
}

// name gives a file, its codes and its authentication data the names that the
// profile's memory knows them by. Directories come before what is in them.
func (s *system) name(f *saip.File) {
	path := "3F00"
	switch {
	case f.Type == saip.ADF:
		path = fmt.Sprintf("%X", f.AID)
	case f.Parent != nil:
		path = fmt.Sprintf("%s/%04X", s.files[f.Parent], f.ID)
	}
	s.files[f] = path
	for ref, pin := range f.PINs {
		if s.codes[pin] == "" {
			s.codes[pin] = fmt.Sprintf("%s#%02X", path, ref)
		}
	}
	if f.AKA != nil && s.akas[f.AKA] == "" {
		s.akas[f.AKA] = path
	}
}

// overlay lays over the file system what has changed since installation.
func (s *system) overlay(p *profile) {
	for f, path := range s.files {
		if content, ok := p.Files[path]; ok && len(content) == len(f.Data) {
			copy(f.Data, content)
		}
	}
	for k, name := range s.codes {
		if changed, ok := p.Codes[name]; ok {
			copy(k.Value[:], changed.Value)
			k.Attributes, k.Left = changed.Attributes, changed.Left
		}
	}
	for aka, name := range s.akas {
		if aka.USIM != nil {
			copy(aka.USIM.SEQ[:], p.Sequence[name])
		}
	}
}

// allowed reports whether the access rules of a file let a command pass, with
// the codes that were presented.
func (c *Card) allowed(ch *channel, f *saip.File, op saip.Operation) bool {
	return ch.sys.fs.Allowed(f, op, func(ref byte) bool {
		dir := f
		if !f.Directory() {
			dir = f.Parent
		}
		return c.presented(ch.sys, dir, ref) || c.presented(ch.sys, ch.dir, ref)
	})
}

// presented reports whether a code was presented since the reset, or need not
// be because it is a disabled PIN. Administrative codes have to be presented.
func (c *Card) presented(sys *system, dir *saip.File, ref byte) bool {
	pin := sys.pin(dir, ref)
	if pin == nil {
		return false
	}
	return !pin.Enabled() && !administrative(ref) || c.pins[sys.codes[pin]]
}

// pin finds the code that a reference means in a directory: its own, one above
// it, or a global one of the MF.
func (s *system) pin(dir *saip.File, ref byte) *saip.Code {
	if pin := s.fs.PIN(dir, ref); pin != nil {
		return pin
	}
	return s.fs.PIN(s.fs.MF, ref)
}

// administrative reports whether a reference names an ADM code. ETSI TS 102
// 221, table 9.3.
func administrative(ref byte) bool { return ref&0x7F >= 0x0A && ref&0x7F <= 0x0E }

// find resolves the operand of SELECT. ETSI TS 102 221, 8.4 and 11.1.1.
func (ch *channel) find(p1 byte, data []byte) (*saip.File, error) {
	switch p1 {
	case 0x00, 0x01, 0x02:
		if len(data) == 0 && p1 == 0x00 {
			return ch.sys.fs.MF, nil
		}
		if len(data) != 2 {
			return nil, refusal(swWrongLength)
		}
		id := uint16(data[0])<<8 | uint16(data[1])
		f := ch.byID(id)
		if f != nil && p1 == 0x01 && (!f.Directory() || f.Parent != ch.dir) {
			f = nil
		}
		if f == nil {
			return nil, refusal(swFileNotFound)
		}
		return f, nil
	case 0x03:
		if ch.dir.Parent == nil {
			return nil, refusal(swFileNotFound)
		}
		return ch.dir.Parent, nil
	case 0x08, 0x09:
		from := ch.sys.fs.MF
		if p1 == 0x09 {
			from = ch.dir
		}
		return ch.path(from, data)
	}
	return nil, refusal(swWrongP1P2)
}

// path walks down from a directory. From the MF, 7FFF names the current
// application.
func (ch *channel) path(f *saip.File, path []byte) (*saip.File, error) {
	if len(path) == 0 || len(path)%2 != 0 || len(path) > 16 {
		return nil, refusal(swWrongLength)
	}
	for i := 0; i < len(path); i += 2 {
		id := uint16(path[i])<<8 | uint16(path[i+1])
		switch {
		case i == 0 && id == 0x3F00:
			f = ch.sys.fs.MF
		case i == 0 && id == 0x7FFF:
			f = ch.app
		default:
			f = child(f, id)
		}
		if f == nil {
			return nil, refusal(swFileNotFound)
		}
	}
	return f, nil
}

// child returns a file directly below a directory. The applications are below
// the MF but not selected by an identifier.
func child(dir *saip.File, id uint16) *saip.File {
	if dir == nil {
		return nil
	}
	if f := dir.Child(id); f != nil && f.Type != saip.ADF {
		return f
	}
	return nil
}

// byID finds a file by its identifier as SELECT does: below the current
// directory, beside it, above it, or one of the fixed ones.
func (ch *channel) byID(id uint16) *saip.File {
	switch id {
	case 0x3F00:
		return ch.sys.fs.MF
	case 0x7FFF:
		return ch.app
	}
	if f := child(ch.dir, id); f != nil {
		return f
	}
	if ch.dir.ID == id && ch.dir.Type == saip.DF {
		return ch.dir
	}
	if parent := ch.dir.Parent; parent != nil {
		if f := child(parent, id); f != nil && f.Directory() {
			return f
		}
		if parent.ID == id && parent.Type == saip.DF {
			return parent
		}
	}
	return nil
}

// enter makes a file the current one.
func (ch *channel) enter(f *saip.File) {
	ch.isdr, ch.record, ch.file = false, 0, nil
	if f.Directory() {
		ch.dir = f
		if f.Type == saip.ADF {
			ch.app = f
		}
		return
	}
	if f.Parent != nil {
		ch.dir = f.Parent
	}
	ch.file = f
}

// current returns the file that a command on an EF is for: the one selected, or
// the one with the short identifier, which is selected by this.
func (ch *channel) current(sfi byte, record bool) (*saip.File, error) {
	if ch.sys == nil {
		return nil, refusal(swNoEF)
	}
	if sfi != 0 {
		i := slices.IndexFunc(ch.dir.Content().Children, func(f *saip.File) bool { return f.SFI == sfi && !f.Directory() })
		if i < 0 {
			return nil, refusal(swFileNotFound)
		}
		ch.enter(ch.dir.Content().Children[i])
	}
	f := ch.file
	if f == nil {
		return nil, refusal(swNoEF)
	}
	t := f.Content()
	records := t.Type == saip.LinearFixed || t.Type == saip.Cyclic
	if records != record || t.Type == saip.BERTLV || records && t.RecordLength == 0 {
		return nil, refusal(swWrongStructure)
	}
	if f.LifeCycle != 0 && f.LifeCycle&0x01 == 0 { // deactivated
		return nil, refusal(swInvalidated)
	}
	return f, nil
}

// binary resolves P1 and P2 of READ and UPDATE BINARY.
func (ch *channel) binary(cmd *command) (*saip.File, int, error) {
	if cmd.p1&0x80 == 0 {
		f, err := ch.current(0, false)
		return f, int(cmd.p1)<<8 | int(cmd.p2), err
	}
	if cmd.p1&0x60 != 0 || cmd.p1&0x1F == 0 {
		return nil, 0, refusal(swWrongP1P2)
	}
	f, err := ch.current(cmd.p1&0x1F, false)
	return f, int(cmd.p2), err
}

// readBinary: ETSI TS 102 221, 11.1.3.
func (c *Card) readBinary(ch *channel, cmd *command) ([]byte, error) {
	f, offset, err := ch.binary(cmd)
	if err != nil {
		return nil, err
	}
	if !c.allowed(ch, f, saip.Read) {
		return nil, refusal(swSecurity)
	}
	content := f.Content().Data
	if offset > len(content) || offset == len(content) && offset > 0 {
		return nil, refusal(swOffset)
	}
	content = content[offset:]
	if cmd.le >= 0 && len(content) > cmd.le {
		content = content[:cmd.le]
	}
	return bytes.Clone(content), nil
}

// updateBinary: ETSI TS 102 221, 11.1.4.
func (c *Card) updateBinary(ch *channel, cmd *command) error {
	f, offset, err := ch.binary(cmd)
	if err != nil {
		return err
	}
	if !c.allowed(ch, f, saip.Update) {
		return refusal(swSecurity)
	}
	if len(cmd.data) == 0 {
		return refusal(swWrongLength)
	}
	t := f.Content()
	if offset+len(cmd.data) > len(t.Data) {
		return refusal(swOffset)
	}
	content := bytes.Clone(t.Data)
	copy(content[offset:], cmd.data)
	return c.writeFile(ch.sys, t, content)
}

// writeFile stores the new content of a file.
func (c *Card) writeFile(sys *system, f *saip.File, content []byte) error {
	if bytes.Equal(content, f.Data) {
		return nil
	}
	err := c.edit(sys, func(p *profile) {
		if p.Files == nil {
			p.Files = fileMap{}
		}
		p.Files[sys.files[f]] = content
	})
	if err != nil {
		return err
	}
	copy(f.Data, content)
	return nil
}

// edit changes the memory of the profile that a file system belongs to.
func (c *Card) edit(sys *system, change func(p *profile)) error {
	return c.update(func(s *state) error {
		p := s.byAID(sys.aid)
		if p == nil {
			return refusal(swConditions)
		}
		s.edit(p, change)
		return nil
	})
}

// recordNumber resolves P1 and P2 of the record commands. ETSI TS 102 221,
// 11.1.5.
func (ch *channel) recordNumber(cmd *command) (*saip.File, int, error) {
	f, err := ch.current(cmd.p2>>3, true)
	if err != nil {
		return nil, 0, err
	}
	t := f.Content()
	count := len(t.Data) / t.RecordLength
	n := ch.record
	switch cmd.p2 & 0x07 {
	case 0x04:
		if cmd.p1 != 0 {
			n = int(cmd.p1)
		}
	case 0x02:
		if n++; n > count {
			if t.Type != saip.Cyclic {
				return nil, 0, refusal(swRecordNotFound)
			}
			n = 1
		}
		ch.record = n
	case 0x03:
		if n--; n < 1 {
			if ch.record != 0 && t.Type != saip.Cyclic {
				return nil, 0, refusal(swRecordNotFound)
			}
			n = count
		}
		ch.record = n
	default:
		return nil, 0, refusal(swWrongP1P2)
	}
	if n < 1 || n > count {
		return nil, 0, refusal(swRecordNotFound)
	}
	return f, n, nil
}

func (c *Card) readRecord(ch *channel, cmd *command) ([]byte, error) {
	f, n, err := ch.recordNumber(cmd)
	if err != nil {
		return nil, err
	}
	if !c.allowed(ch, f, saip.Read) {
		return nil, refusal(swSecurity)
	}
	t := f.Content()
	if cmd.le >= 0 && cmd.le != maxShort && cmd.le < t.RecordLength {
		return nil, refusal(swWrongLength)
	}
	return bytes.Clone(t.Data[(n-1)*t.RecordLength : n*t.RecordLength]), nil
}

// updateRecord: ETSI TS 102 221, 11.1.6. A cyclic file takes the new record as
// its first and loses its oldest.
func (c *Card) updateRecord(ch *channel, cmd *command) error {
	f, n, err := ch.recordNumber(cmd)
	cyclic := ch.file != nil && ch.file.Content().Type == saip.Cyclic
	if cyclic && cmd.p2&0x07 != 0x03 {
		return refusal(swWrongP1P2)
	}
	if err != nil {
		return err
	}
	if !c.allowed(ch, f, saip.Update) {
		return refusal(swSecurity)
	}
	t := f.Content()
	if len(cmd.data) != t.RecordLength {
		return refusal(swWrongLength)
	}
	content := bytes.Clone(t.Data)
	if cyclic {
		copy(content[t.RecordLength:], t.Data)
		n, ch.record = 1, 1
	}
	copy(content[(n-1)*t.RecordLength:], cmd.data)
	return c.writeFile(ch.sys, t, content)
}

// searchRecord does the simple search: forward or backward from a record, and
// answers the numbers of those that hold the pattern. ETSI TS 102 221, 11.1.7.
func (c *Card) searchRecord(ch *channel, cmd *command) ([]byte, error) {
	f, err := ch.current(cmd.p2>>3, true)
	if err != nil {
		return nil, err
	}
	if !c.allowed(ch, f, saip.Read) {
		return nil, refusal(swSecurity)
	}
	t := f.Content()
	if len(cmd.data) == 0 || len(cmd.data) > t.RecordLength {
		return nil, refusal(swWrongLength)
	}
	count := len(t.Data) / t.RecordLength
	from := int(cmd.p1)
	if from > count {
		return nil, refusal(swRecordNotFound)
	}
	var found []byte
	has := func(n int) {
		if bytes.Contains(t.Data[(n-1)*t.RecordLength:n*t.RecordLength], cmd.data) {
			found = append(found, byte(n))
		}
	}
	switch cmd.p2 & 0x07 {
	case 0x04:
		for n := max(from, 1); n <= count; n++ {
			has(n)
		}
	case 0x05:
		if from == 0 {
			from = count
		}
		for n := from; n >= 1; n-- {
			has(n)
		}
	default:
		return nil, refusal(swWrongP1P2)
	}
	if len(found) == 0 {
		return nil, refusal(0x6282) // end of file reached
	}
	return found, nil
}

// describe answers STATUS with the current directory. ETSI TS 102 221, 11.1.2.
func (c *Card) describe(ch *channel, cmd *command) ([]byte, error) {
	if cmd.p1 > 0x02 {
		return nil, refusal(swWrongP1P2)
	}
	switch cmd.p2 {
	case 0x00:
		if ch.isdr {
			return c.fci(), nil
		}
		if ch.sys == nil {
			return nil, refusal(swConditions)
		}
		return ch.sys.fs.FCP(ch.dir), nil
	case 0x01:
		if ch.app == nil {
			return nil, refusal(swConditions)
		}
		return tlv.Append(nil, 0x84, ch.app.AID), nil
	case 0x0C:
		return nil, nil
	}
	return nil, refusal(swWrongP1P2)
}
