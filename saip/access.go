package saip

import (
	"encoding/binary"

	"godwit/tlv"
)

// An Operation is what an access rule permits. Values are the bits of an access
// mode byte for elementary files and directories. ETSI TS 102 221, 9.3 and ISO
// 7816-4, table 16.
type Operation byte

// The operations that a terminal does.
const (
	Read       Operation = 0x01 // READ, SEARCH
	Update     Operation = 0x02 // UPDATE
	Deactivate Operation = 0x08
	Activate   Operation = 0x10
	// Increase has a rule by instruction code, INS 32.
	Increase Operation = 0x80
)

// accessRuleFile returns the EF.ARR that a file's rule is in: the one named in
// the nearest directory above it.
func (fs *FileSystem) accessRuleFile(f *File) *File {
	id := binary.BigEndian.Uint16(f.Security)
	dir := f.Parent
	if f.Type == ADF || f.Parent == nil {
		dir = fs.MF
	}
	for ; dir != nil; dir = dir.Parent {
		if arr := dir.Child(id); arr != nil && arr.Content().Records() > 0 {
			return arr.Content()
		}
	}
	return nil
}

// Allowed reports whether a file permits an operation to a terminal that has
// verified some codes. A file without rule permits nothing.
func (fs *FileSystem) Allowed(f *File, op Operation, verified func(reference byte) bool) bool {
	if len(f.Security) != 3 {
		return false
	}
	arr := fs.accessRuleFile(f)
	if arr == nil {
		return false
	}
	// Access mode objects and the conditions of each follow one another.
	applies := false
	for rest := arr.Record(int(f.Security[2])); len(rest) > 0 && rest[0] != 0xFF; {
		e, after, err := tlv.Next(rest)
		if err != nil {
			return false
		}
		rest = after
		switch e.Tag {
		case 0x80:
			applies = len(e.Value) == 1 && op != Increase && e.Value[0]&byte(op) != 0
		case 0x84:
			applies = len(e.Value) == 1 && op == Increase && e.Value[0] == 0x32
		default:
			if applies && satisfied(e, verified) {
				return true
			}
		}
	}
	return false
}

// satisfied judges one security condition: 90 always, 97 never, A4 a code, A0
// any of, AF all of.
func satisfied(e tlv.Element, verified func(byte) bool) bool {
	switch e.Tag {
	case 0x90:
		return true
	case 0xA4:
		r := e.Reader()
		ref := r.Value(0x83)
		return r.Err() == nil && len(ref) == 1 && verified(ref[0])
	case 0xA0, 0xAF:
		any, all := false, true
		for r := e.Reader(); !r.Empty(); {
			if satisfied(r.Next(), verified) {
				any = true
			} else {
				all = false
			}
		}
		if e.Tag == 0xA0 {
			return any
		}
		return all
	}
	return false
}

// FCP encodes the file control parameters that answer a SELECT: template 62 of
// ETSI TS 102 221, 11.1.1.3.
func (fs *FileSystem) FCP(f *File) []byte {
	content := f.Content()
	return tlv.AppendNested(nil, 0x62, func(dst []byte) []byte {
		dst = tlv.Append(dst, 0x82, descriptor(content))
		if f.Type == ADF {
			dst = tlv.Append(dst, 0x84, f.AID)
		} else {
			dst = tlv.Append(dst, 0x83, binary.BigEndian.AppendUint16(nil, f.ID))
		}
		if f.Directory() {
			// UICC characteristics: clock stop allowed, no preference.
			dst = tlv.Append(dst, 0xA5, []byte{0x80, 0x01, 0x71})
		} else if content.Special != 0 {
			dst = tlv.Append(dst, 0xA5, []byte{0xC0, 0x01, content.Special})
		}
		dst = tlv.Append(dst, 0x8A, []byte{f.LifeCycle})
		if len(f.Security) > 0 {
			dst = tlv.Append(dst, 0x8B, f.Security)
		}
		if f.Directory() {
			return append(dst, fs.pinStatus(f)...)
		}
		size := len(content.Data)
		if content.Type == BERTLV {
			size = content.MaxSize
		}
		dst = tlv.Append(dst, 0x80, minimalSize(size))
		if f.SFI != 0 {
			return tlv.Append(dst, 0x88, []byte{f.SFI << 3})
		}
		return tlv.Append(dst, 0x88, nil)
	})
}

func descriptor(content *File) []byte {
	switch content.Type {
	case Transparent:
		return []byte{0x41, 0x21}
	case BERTLV:
		return []byte{0x79, 0x21}
	case LinearFixed, Cyclic:
		kind := byte(0x42)
		if content.Type == Cyclic {
			kind = 0x46
		}
		return []byte{kind, 0x21, byte(content.RecordLength >> 8), byte(content.RecordLength), byte(content.Records())}
	}
	return []byte{0x78, 0x21}
}

// minimalSize encodes a size in at least two octets, as terminals expect it.
func minimalSize(n int) []byte {
	if n > 0xFFFF {
		return []byte{byte(n >> 16), byte(n >> 8), byte(n)}
	}
	return binary.BigEndian.AppendUint16(nil, uint16(n))
}

// pinStatus encodes the PIN status template: which codes are enabled (90), and
// their references (83). ETSI TS 102 221, 9.5.2.
func (fs *FileSystem) pinStatus(dir *File) []byte {
	var enabled byte
	var body []byte
	for i, ref := range dir.PINStatus {
		if c := fs.PIN(dir, ref); i < 8 && c != nil && c.Enabled() {
			enabled |= 0x80 >> i
		}
		body = tlv.Append(body, 0x83, []byte{ref})
	}
	return tlv.Append(nil, 0xC6, append(tlv.Append(nil, 0x90, []byte{enabled}), body...))
}
