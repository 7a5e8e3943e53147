package saip

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"godwit/fault"
	"godwit/tlv"
)

// An edit changes the content of a file and returns it, longer if it must be.
// least says how many octets are to be written even if they equal what the file
// begins with. nil keeps the template's content.
type edit func(content []byte, f *filling) (out []byte, least int, err error)

// A fileEdit is a file whose content changes with the profile.
type fileEdit struct {
	field field
	file  *File // as the template makes it
	edit  edit
}

// An editor is the edit of one component.
type editor struct {
	kind  Kind
	name  string
	field field
	edit  func(file *File) edit
}

// editors are the files of TS 31.102 and 31.103 that hold personal data.
var editors = []editor{
	{KindMF, "ef-iccid", fieldICCID, editICCID},
	{KindUSIM, "ef-imsi", fieldIMSI, editIMSI},
	{KindUSIM, "ef-acc", fieldACC, editACC},
	{KindUSIM, "ef-ad", fieldMNCLength, editAD},
	{KindUSIM, "ef-spn", fieldSPN, editSPN},
	{KindUSIM, "ef-smsp", fieldSMSC, editSMSP},
	{KindUSIM, "ef-ust", fieldSUCI, editUST},
	{KindOptUSIM, "ef-msisdn", fieldMSISDN, editMSISDN},
	{KindOptISIM, "ef-smsp", fieldSMSC, editSMSP},
	{KindISIM, "ef-impi", fieldIMPI, editIMPI},
	{KindISIM, "ef-impu", fieldIMPU, editIMPU},
	{KindISIM, "ef-domain", fieldDomain, editDomain},
	{KindDF5GS, "ef-suci-calc-info", fieldSUCI, editSUCI(false)},
	{KindDF5GS, "ef-routing-indicator", fieldRoutingIndicator, editRoutingIndicator},
	{KindDFSAIP, "ef-suci-calc-info-usim", fieldSUCI, editSUCI(true)},
	{KindIoT, "ef-iccid", fieldICCID, editICCID},
	{KindIoT, "ef-imsi", fieldIMSI, editIMSI},
	{KindIoT, "ef-acc", fieldACC, editACC},
	{KindIoT, "ef-ad", fieldMNCLength, editAD},
	{KindIoT, "ef-ust", fieldSUCI, editUST},
	{KindOptIoT, "ef-spn", fieldSPN, editSPN},
	{KindOptIoT, "ef-smsp", fieldSMSC, editSMSP},
	{KindOptIoT, "ef-suci-calc-info", fieldSUCI, editSUCI(false)},
	{KindOptIoT, "ef-suci-calc-info-usim", fieldSUCI, editSUCI(true)},
	{KindOptIoT, "ef-routing-indicator", fieldRoutingIndicator, editRoutingIndicator},
}

// templateFiles plans the files of an element that hold personal data.
func (pl *planner) templateFiles(e *Element) {
	version := templateVersion(e.node.child(0x81).octets())
	for _, ed := range editors {
		if ed.kind != e.Kind {
			continue
		}
		for _, c := range components(e.Kind) {
			if c.name == ed.name {
				pl.planFile(e, c, version, ed)
			}
		}
	}
}

// planFile cuts one file: its contents become one slot, the size in its
// descriptor another.
func (pl *planner) planFile(e *Element, c *component, version int, ed editor) {
	n := e.node.child(c.tag)
	if n == nil && !(e.Kind.byDefault() && c.content != "") {
		return
	}
	if n != nil && (n.child(tagDoNotCreate) != nil || len(n.at(tagDescriptor, 0xC7).octets()) > 0) {
		return // no such file, or a link whose content is elsewhere
	}
	file := newFile(c, version, n.list(), false)
	number := len(pl.files)
	pl.files = append(pl.files, &fileEdit{ed.field, file, ed.edit(file)})
	if ed.name != "ef-ust" {
		pl.has[ed.field] = true
	}
	if c.name == "ef-ad" && len(file.Data) >= 4 && file.Data[3]&0xF == 3 {
		pl.mncLength = 3
	}
	contents := func(dst []byte, f *filling) ([]byte, bool) {
		image := f.images[number]
		if image == nil {
			return dst, false
		}
		return tlv.Append(dst, tagContent, image[:written(file, image, f.least[number])]), true
	}
	if n == nil { // the eUICC would make the template's default: say otherwise
		at := len(e.node.children)
		for i, sibling := range e.node.children {
			if sibling.tag > c.tag && at > i {
				at = i
			}
		}
		s := pl.add(nil, func(dst []byte, f *filling) ([]byte, bool) {
			if f.images[number] == nil {
				return dst, false
			}
			return tlv.AppendNested(dst, c.tag, func(dst []byte) []byte {
				dst, _ = contents(dst, f)
				return dst
			}), true
		})
		pl.insert[e.node] = append(pl.insert[e.node], ins{at, s})
		return
	}
	pl.planContents(n, contents)
	if file.Type == Transparent {
		pl.planSize(n, len(file.Data), number)
	}
}

// written returns how much of an image must be written: what differs from what
// the file is filled with, and least at any rate.
func written(file *File, image []byte, least int) int {
	n := len(image)
	for n > least && n <= len(file.fill) && image[n-1] == file.fill[n-1] {
		n--
	}
	return max(n, min(1, len(image)))
}

// planContents makes one slot of a file's offsets and contents.
func (pl *planner) planContents(n *node, write func([]byte, *filling) ([]byte, bool)) {
	var old []*node
	var original []byte
	for _, m := range n.children {
		if m.tag == tagOffset || m.tag == tagContent {
			old = append(old, m)
			original = m.append(original)
		}
	}
	s := pl.add(original, write)
	if len(old) == 0 {
		pl.insert[n] = append(pl.insert[n], ins{len(n.children), s})
		return
	}
	for _, m := range old {
		pl.replace[m] = dropped
	}
	pl.replace[old[0]] = s
}

// planSize lets a transparent file grow: its size (80) stands before the PIN
// status, short identifier, proprietary information and link of a descriptor.
func (pl *planner) planSize(n *node, size, number int) {
	descriptor := n.child(tagDescriptor)
	if descriptor == nil {
		return
	}
	write := func(dst []byte, f *filling) ([]byte, bool) {
		image := f.images[number]
		if len(image) <= size {
			return dst, false
		}
		octets := binary.BigEndian.AppendUint32(nil, uint32(len(image)))
		return tlv.Append(dst, 0x80, bytes.TrimLeft(octets, "\x00")), true
	}
	if old := descriptor.child(0x80); old != nil {
		pl.replace[old] = pl.add(old.append(nil), write)
		return
	}
	at := len(descriptor.children)
	for i, m := range descriptor.children {
		if slices.Contains([]tlv.Tag{0xC6, 0x88, 0xA5, 0xC7}, m.tag) {
			at = min(at, i)
		}
	}
	pl.insert[descriptor] = append(pl.insert[descriptor], ins{at, pl.add(nil, write)})
}

// fillFiles computes the new content of every file that changes.
func (f *filling) fillFiles() error {
	f.images, f.least = f.images[:0], f.least[:0]
	for _, e := range f.plan.files {
		start := len(f.arena)
		f.arena = append(f.arena, e.file.Data...)
		image, least, err := e.edit(f.arena[start:len(f.arena):len(f.arena)], f)
		if err != nil {
			return err
		}
		f.images, f.least = append(f.images, image), append(f.least, least)
	}
	return nil
}

func editICCID(*File) edit {
	return func(content []byte, f *filling) ([]byte, int, error) {
		if f.personal.ICCID == "" {
			return nil, 0, nil
		}
		return replaced(content, f.personal.ICCID.Octets())
	}
}

func editIMSI(*File) edit {
	return func(content []byte, f *filling) ([]byte, int, error) {
		if f.personal.IMSI == "" {
			return nil, 0, nil
		}
		return replaced(content, f.personal.IMSI.Octets())
	}
}

// replaced writes v over content, FF behind it.
func replaced(content, v []byte) ([]byte, int, error) {
	if len(v) > len(content) {
		return v, len(v), nil
	}
	for i := copy(content, v); i < len(content); i++ {
		content[i] = 0xFF
	}
	return content, len(v), nil
}

func editACC(*File) edit {
	return func(content []byte, f *filling) ([]byte, int, error) {
		if f.personal.ACC == 0 && f.personal.IMSI == "" || len(content) < 2 {
			return nil, 0, nil
		}
		put16(content, f.personal.accessClass())
		return content, 2, nil
	}
}

// editAD changes the fourth octet, the number of MNC digits, and nothing else.
func editAD(*File) edit {
	return func(content []byte, f *filling) ([]byte, int, error) {
		if f.personal.MNCLength == 0 {
			return nil, 0, nil
		}
		for len(content) < 4 {
			content = append(content, 0)
		}
		content[3] = content[3]&0xF0 | byte(f.personal.MNCLength)
		return content, 4, nil
	}
}

// editSPN keeps the display condition in the first octet. TS 31.102, 4.2.12.
func editSPN(*File) edit {
	return func(content []byte, f *filling) ([]byte, int, error) {
		if f.personal.SPN == "" {
			return nil, 0, nil
		}
		if len(content) < 2 {
			return nil, 0, fault.Field("SPN", "EF.SPN of the template is too short")
		}
		if content[0] == 0xFF {
			content[0] = 0x01
		}
		name := appendText(make([]byte, 0, 48), f.personal.SPN)
		if len(name) > len(content)-1 {
			return nil, 0, fault.Field("SPN", "takes %d octets on the card; there are %d", len(name), len(content)-1)
		}
		_, _, err := replaced(content[1:], name)
		return content, len(content), err
	}
}

// editSMSP writes the service centre into the first record: 28 octets at its
// end, of which the indicator says which are present. TS 31.102, 4.2.27.
func editSMSP(file *File) edit {
	return func(content []byte, f *filling) ([]byte, int, error) {
		if f.personal.SMSC == "" {
			return nil, 0, nil
		}
		if file.RecordLength < 28 || len(content) < file.RecordLength {
			return nil, 0, fault.Field("SMSC", "EF.SMSP of the template has no record for it")
		}
		if digits := len(f.personal.SMSC); digits > 20 && f.personal.SMSC[0] != '+' {
			return nil, 0, fault.Field("SMSC", "has more than 20 digits")
		}
		p := content[file.RecordLength-28 : file.RecordLength]
		if p[0] == 0xFF { // nothing was there: add protocol, coding and validity of three days
			p[0] = 0xE3
			p[25], p[26], p[27] = 0x00, 0x00, 0xA9
		}
		p[0] &^= 0x02 // the service centre is present
		putNumber(p[13:25], f.personal.SMSC)
		return content, file.RecordLength, nil
	}
}

// editMSISDN writes the number into the first record: 14 octets at its end.
// TS 31.102, 4.2.26.
func editMSISDN(file *File) edit {
	return func(content []byte, f *filling) ([]byte, int, error) {
		if f.personal.MSISDN == "" {
			return nil, 0, nil
		}
		if file.RecordLength < 14 || len(content) < file.RecordLength {
			return nil, 0, fault.Field("MSISDN", "EF.MSISDN of the template has no record for it")
		}
		putNumber(content[file.RecordLength-14:file.RecordLength-2], f.personal.MSISDN)
		return content, file.RecordLength, nil
	}
}

// appendURI writes the TLV that IMS files hold. TS 31.103, 4.2.2.
func appendURI(dst []byte, uri string) []byte { return tlv.AppendString(dst, 0x80, uri) }

func editIMPI(*File) edit {
	return func(content []byte, f *filling) ([]byte, int, error) {
		uri := f.personal.IMPI
		if uri == "" {
			if f.personal.IMSI == "" {
				return nil, 0, nil
			}
			uri = string(f.personal.IMSI) + "@" + homeDomain(f.personal.IMSI, f.mnc)
		}
		return replaced(content, appendURI(nil, uri))
	}
}

func editDomain(*File) edit {
	return func(content []byte, f *filling) ([]byte, int, error) {
		domain := f.personal.Domain
		if domain == "" {
			if f.personal.IMSI == "" {
				return nil, 0, nil
			}
			domain = homeDomain(f.personal.IMSI, f.mnc)
		}
		return replaced(content, appendURI(nil, domain))
	}
}

// editIMPU writes the identities one to a record and clears the records behind.
func editIMPU(file *File) edit {
	return func(content []byte, f *filling) ([]byte, int, error) {
		uris := f.personal.IMPU
		if len(uris) == 0 {
			if f.personal.IMSI == "" {
				return nil, 0, nil
			}
			uris = []string{"sip:" + string(f.personal.IMSI) + "@" + homeDomain(f.personal.IMSI, f.mnc)}
		}
		if len(uris) > file.Records() {
			return nil, 0, fault.Field("IMPU", "there are %d identities, the template has %d records for them", len(uris), file.Records())
		}
		for i := range file.Records() {
			record := content[i*file.RecordLength : (i+1)*file.RecordLength]
			var value []byte
			if i < len(uris) {
				value = appendURI(nil, uris[i])
			}
			if len(value) > len(record) {
				return nil, 0, fault.Field("IMPU", "%q takes %d octets, a record of the template has %d", uris[i], len(value), len(record))
			}
			if _, _, err := replaced(record, value); err != nil {
				return nil, 0, err
			}
		}
		return content, file.RecordLength, nil
	}
}

// editSUCI writes the calculation info where it is to be used: by the phone
// (DF.5GS) or by the USIM alone (DF.SAIP); the other file is cleared, so that no
// key stays that was not asked for.
func editSUCI(onUSIM bool) func(*File) edit {
	return func(*File) edit {
		return func(content []byte, f *filling) ([]byte, int, error) {
			if f.personal.SUCI == nil {
				return nil, 0, nil
			}
			if f.personal.SUCI.OnUSIM != onUSIM {
				return replaced(content, nil)
			}
			return replaced(content, f.personal.SUCI.append(nil))
		}
	}
}

// Services of EF.UST. TS 31.102, 4.2.8.
const (
	serviceSUCI       = 124
	serviceSUCIOnUSIM = 125
)

// editUST makes the service table say who conceals the SUPI.
func editUST(*File) edit {
	return func(content []byte, f *filling) ([]byte, int, error) {
		if f.personal.SUCI == nil {
			return nil, 0, nil
		}
		for len(content) < (serviceSUCIOnUSIM+7)/8 {
			content = append(content, 0)
		}
		setService(content, serviceSUCI, true)
		setService(content, serviceSUCIOnUSIM, f.personal.SUCI.OnUSIM)
		return content, len(content), nil
	}
}

// setService sets service n, from 1, of a service table.
func setService(table []byte, n int, on bool) {
	bit := byte(1) << ((n - 1) % 8)
	if on {
		table[(n-1)/8] |= bit
		return
	}
	table[(n-1)/8] &^= bit
}

// editRoutingIndicator writes one to four digits, swapped, F behind, and two
// octets of FF. TS 31.102, 4.4.11.11.
func editRoutingIndicator(*File) edit {
	return func(content []byte, f *filling) ([]byte, int, error) {
		digits := f.personal.RoutingIndicator
		if digits == "" {
			return nil, 0, nil
		}
		v := []byte{0xFF, 0xFF, 0xFF, 0xFF}
		for i := range len(digits) {
			shift := 4 * (i % 2)
			v[i/2] = v[i/2]&^(0xF<<shift) | (digits[i]-'0')<<shift
		}
		return replaced(content, v)
	}
}

// checkDomainKeys refuses keys of wrong length.
func (t *Template) checkDomainKeys(p *Personal) error {
	for _, k := range p.SecurityDomainKeys {
		i := slices.Index(t.plan.keys, keyPlace{k.Version, k.ID})
		kind := byte(keyTypeAES)
		if i >= 0 {
			kind = t.plan.keyTypes[i]
		}
		if !keyLengthAllowed(kind, len(k.Key)) {
			return fault.Field("SecurityDomainKeys", "key %02X of version %02X is %s, which cannot have %d octets",
				k.ID, k.Version, keyTypeName(kind), len(k.Key))
		}
	}
	return nil
}

func keyTypeName(kind byte) string {
	switch kind {
	case keyTypeAES:
		return "AES"
	case keyTypeDES:
		return "triple DES"
	}
	return fmt.Sprintf("of type %02X", kind)
}
