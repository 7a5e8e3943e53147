package saip

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// FileType is the structure of a file.
type FileType int

// The structures of ETSI TS 102 221, 8.
const (
	DF FileType = iota + 1
	ADF
	Transparent
	LinearFixed
	Cyclic
	BERTLV
)

func (t FileType) String() string {
	switch t {
	case DF:
		return "DF"
	case ADF:
		return "ADF"
	case Transparent:
		return "transparent"
	case LinearFixed:
		return "linear fixed"
	case Cyclic:
		return "cyclic"
	case BERTLV:
		return "BER-TLV"
	}
	return "no file"
}

// A File is one DF, ADF or EF. The content of a linked file is that of its
// target: see [File.Content].
type File struct {
	Name     string // component of the template ("ef-imsi"), or "" for other files
	ID       uint16 // file identifier; of an ADF the temporary one
	AID      []byte // of an ADF
	Type     FileType
	Parent   *File
	Children []*File // of a DF or ADF

	SFI          byte   // short file identifier, 0 for none
	RecordLength int    // of LinearFixed and Cyclic
	Data         []byte // whole content; records follow each other
	MaxSize      int    // of BERTLV
	LifeCycle    byte   // 05 activated
	Security     []byte // reference into EF.ARR: tag 8B
	PINStatus    []byte // PIN status template: tag C6, of a DF
	Special      byte   // special file information: tag C0
	Link         *File  // the file whose content this one shows

	PINs map[byte]*Code // of the MF: global and ADM codes; of a DF: local ones
	AKA  *AKA           // of an ADF that authenticates

	linkPath []byte
	pe       *Element
	fill     []byte // what Data was before content was written into it
	overflow int    // octets of content beyond the file's end
	ruled    bool   // the package itself names the access rule
}

// Directory reports whether the file is a DF or an ADF.
func (f *File) Directory() bool { return f.Type == DF || f.Type == ADF }

// Content returns the file that holds the content: f itself or the end of its
// links.
func (f *File) Content() *File {
	for range 8 { // a profile may link in a circle; a reader must come back
		if f.Link == nil {
			return f
		}
		f = f.Link
	}
	return f
}

// Child returns the file with an identifier directly under f.
func (f *File) Child(id uint16) *File {
	for _, c := range f.Content().Children {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// Records returns the number of records.
func (f *File) Records() int {
	if f.RecordLength == 0 {
		return 0
	}
	return len(f.Data) / f.RecordLength
}

// Record returns record n, from 1, or nil. It shares memory with the file.
func (f *File) Record(n int) []byte {
	if n < 1 || n > f.Records() {
		return nil
	}
	return f.Data[(n-1)*f.RecordLength : n*f.RecordLength]
}

// newFile makes a file from its component (nil for files without template) and
// its list of members: doNotCreate, descriptor, offsets and contents. top says
// that a file without template is directly under the MF.
func newFile(c *component, version int, members []*node, top bool) *File {
	f := &File{LifeCycle: 0x05}
	var size extent
	var content string
	if c != nil {
		f.Name, f.ID, f.Type, f.SFI, content, size = c.name, c.id, c.kind, c.sfi, c.content, c.size(version)
		f.Security, top = c.security(), c.top
	}
	f.RecordLength = size.length
	total := size.length * max(size.records, 1)
	for _, n := range members {
		if n.tag == tagDescriptor {
			total = f.describe(n, total, top)
		}
	}
	if c != nil && c.guess && total == 0 {
		total = max(filled(members), f.RecordLength, 1)
	}
	f.allocate(members, content, total)
	f.write(members)
	return f
}

// filled returns how far contents and pattern of a file reach.
func filled(members []*node) (end int) {
	at := 0
	for _, n := range members {
		switch n.tag {
		case tagOffset:
			at += bigEndian(n.value)
		case tagContent:
			at += len(n.value)
			end = max(end, at)
		case tagDescriptor:
			end = max(end, len(n.at(0xA5, 0xC1).octets()), len(n.at(0xA5, 0xC2).octets()))
		}
	}
	return end
}

// Tags of the members of a File.
const (
	tagDoNotCreate = 0x80
	tagDescriptor  = 0xA1
	tagOffset      = 0x82
	tagContent     = 0x83
)

// implied names the EF.ARR that a rule is in if nobody says: 2F06 for the MF, ADFs
// and files directly under the MF, 6F06 for all others. SAIP, 8.3.3.
func implied(rule byte, top bool) []byte {
	if top {
		return []byte{0x2F, 0x06, rule}
	}
	return []byte{0x6F, 0x06, rule}
}

// security is the access rule of the template.
func (c *component) security() []byte {
	return implied(c.rule, c.top)
}

// describe applies a descriptor (Fcp) and returns the size of the file.
func (f *File) describe(fcp *node, total int, top bool) int {
	if d := fcp.child(0x82).octets(); len(d) >= 2 {
		switch d[0] & 0x3F {
		case 0x01:
			f.Type = Transparent
		case 0x02:
			f.Type = LinearFixed
		case 0x06:
			f.Type = Cyclic
		case 0x39:
			f.Type = BERTLV
		case 0x38:
			if f.Type != ADF {
				f.Type = DF
			}
		}
		if len(d) >= 4 {
			records := 1
			if f.RecordLength > 0 {
				records = max(total/f.RecordLength, 1)
			}
			f.RecordLength = int(binary.BigEndian.Uint16(d[2:4]))
			total = records * f.RecordLength
		}
	}
	if id := fcp.child(0x83).octets(); len(id) == 2 {
		f.ID = binary.BigEndian.Uint16(id)
	}
	if aid := fcp.child(0x84).octets(); len(aid) > 0 {
		f.AID, f.Type = aid, ADF
	}
	if life := fcp.child(0x8A).octets(); len(life) == 1 {
		f.LifeCycle = life[0]
	}
	f.ruled = fcp.child(0x8B) != nil
	switch s := fcp.child(0x8B).octets(); len(s) {
	case 1:
		f.Security = implied(s[0], top)
	case 3:
		f.Security = s
	}
	if s := fcp.child(0x80); s != nil {
		total = bigEndian(s.value)
	}
	if p := fcp.child(0xC6); p != nil {
		f.PINStatus = p.value
	}
	if s := fcp.child(0x88); s != nil {
		f.SFI = 0
		if len(s.value) == 1 {
			f.SFI = s.value[0] >> 3
		}
	} else if f.Name == "" && !f.Directory() {
		f.SFI = byte(f.ID & 0x1F)
	}
	if special := fcp.at(0xA5, 0xC0).octets(); len(special) == 1 {
		f.Special = special[0]
	}
	if link := fcp.child(0xC7); link != nil {
		f.linkPath = link.value
	}
	return total
}

// bigEndian reads a size of up to four octets; more are refused elsewhere and
// give the largest.
func bigEndian(b []byte) (n int) {
	if len(b) > 4 {
		return maxFile + 1
	}
	for _, o := range b {
		n = n<<8 | int(o)
	}
	return n
}

// maxFile bounds a file, so that a foreign package cannot ask for gigabytes. The
// largest real files are some tens of kilobytes.
const maxFile = 1 << 18

// allocate makes the content before anything is written into it: the pattern of
// the descriptor, or the default of the template, or FF.
func (f *File) allocate(members []*node, content string, total int) {
	if f.Directory() || f.Type == 0 {
		return
	}
	total = min(total, maxFile)
	if f.Type == BERTLV {
		f.MaxSize = total
		return
	}
	piece := total // patterns start anew in every record
	if f.Type != Transparent {
		if f.RecordLength == 0 {
			return
		}
		piece = f.RecordLength
		total -= total % piece
	} else {
		f.RecordLength = 0
	}
	f.Data = make([]byte, 0, total)
	unit := fillDefault(content, piece)
	for _, n := range members {
		if n.tag != tagDescriptor {
			continue
		}
		if p := n.at(0xA5, 0xC1).octets(); len(p) > 0 {
			fillPattern(unit, p)
		} else if p := n.at(0xA5, 0xC2).octets(); len(p) > 0 {
			fillRepeat(unit, p)
		}
	}
	for len(f.Data)+piece <= total && piece > 0 {
		f.Data = append(f.Data, unit...)
	}
	f.fill = slices.Clone(f.Data)
}

// write applies offsets, each relative to the end of the content before it, and
// contents. SAIP, 8.3.4.
func (f *File) write(members []*node) {
	at := 0
	for _, n := range members {
		switch n.tag {
		case tagOffset:
			at += bigEndian(n.value)
		case tagContent:
			at = f.writeAt(at, n.value)
		}
	}
}

// writeAt writes v at an offset and returns where it ends. What does not fit is
// counted and dropped.
func (f *File) writeAt(at int, v []byte) int {
	end := at + len(v)
	if f.Type == BERTLV {
		f.Data = append(f.Data, v...)
		f.overflow = max(f.overflow, len(f.Data)-f.MaxSize)
		return end
	}
	if f.Directory() {
		f.overflow = max(f.overflow, len(v))
		return end
	}
	if end > len(f.Data) {
		f.overflow = max(f.overflow, end-len(f.Data))
	}
	if at < len(f.Data) {
		copy(f.Data[at:], v)
	}
	return end
}

// Path returns the identifiers from the MF, an ADF by its temporary one:
// "3F00/7FD0/6F07".
func (f *File) Path() string {
	if f.Parent == nil {
		return fmt.Sprintf("%04X", f.ID)
	}
	return fmt.Sprintf("%s/%04X", f.Parent.Path(), f.ID)
}

func (f *File) String() string {
	if f.Name == "" {
		return "file " + f.Path()
	}
	return f.Name
}
