package explain

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"godwit/ident"
	"godwit/pki"
	"godwit/tlv"
)

// A Node is one element of a message, with its name and its value in words.
type Node struct {
	Tag     string `json:"tag"`
	Name    string `json:"name,omitempty"`
	Length  int    `json:"length"`
	Value   string `json:"value,omitempty"`  // of an element that holds no others
	Damage  string `json:"damage,omitempty"` // why the elements in it cannot be read
	Explain *Entry `json:"explain,omitempty"`
	Nodes   []Node `json:"nodes,omitempty"`
}

// ErrMessage reports a text that is no message in hexadecimal or base64.
var ErrMessage = errors.New("neither hexadecimal nor base64 of a message")

// maxMessage bounds what is decoded from a text.
const maxMessage = 4 << 20

// Decode reads a pasted message: hexadecimal or base64, with white space, quotes
// and line breaks anywhere, with the header of a STORE DATA command or without.
func Decode(text string) ([]byte, error) {
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || strings.ContainsRune(`"',`, r) {
			return -1
		}
		return r
	}, text)
	if text == "" || len(text) > 2*maxMessage {
		return nil, ErrMessage
	}
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		b, err := decode(text)
		if err != nil || len(b) < 2 {
			continue
		}
		b = withoutHeader(b)
		if wellFormed(b) {
			return b, nil
		}
	}
	return nil, ErrMessage
}

// wellFormed reports whether b is one element or several. What is in them is not
// judged: the tree shows where a message is damaged.
func wellFormed(b []byte) bool {
	r := tlv.NewReader(b)
	for !r.Empty() {
		r.Next()
	}
	return r.Err() == nil
}

// withoutHeader takes the header of a STORE DATA command away. SGP.22 v2.5,
// 5.7.2.
func withoutHeader(b []byte) []byte {
	if len(b) > 5 && b[0]&0x80 != 0 && b[1] == 0xE2 && int(b[4]) <= len(b)-5 {
		return b[5 : 5+int(b[4])]
	}
	return b
}

// Message shows the elements of a message, with the names that SGP.22 and
// SGP.32 give them and explanations where a result code stands. What it does not
// know has no name; an element that is damaged inside is shown as octets.
func Message(b []byte) ([]Node, error) {
	if len(b) == 0 {
		return nil, ErrMessage
	}
	first, _, err := tlv.Next(b)
	if err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	root := "message"
	if first.Tag == 0xA0 && len(first.Value) > 0 && first.Value[0] == 0x80 {
		root = "profilePackage"
	}
	list, err := nodes(b, root, 0)
	if err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	return list, nil
}

// nodes reads the elements of one level.
func nodes(b []byte, kind string, depth int) ([]Node, error) {
	if depth > tlv.MaxDepth {
		return nil, tlv.ErrTooDeep
	}
	var out []Node
	seen := make(map[tlv.Tag]int)
	for place := 0; len(b) > 0; place++ {
		e, rest, err := tlv.Next(b)
		if err != nil {
			return nil, err
		}
		b = rest
		seen[e.Tag]++
		f, ok := schema()[kind].lookup(e.Tag, place, seen[e.Tag])
		if !ok && depth == 0 && e.Tag == tlv.Sequence {
			f = guess(e)
		}
		out = append(out, node(e, f, depth))
	}
	return out, nil
}

func node(e tlv.Element, f field, depth int) Node {
	n := Node{Tag: e.Tag.String(), Name: f.name, Length: len(e.Value)}
	if f.format == "cert" {
		n.Value = certificate(e.Raw)
		return n
	}
	if e.Tag.Constructed() {
		inner, err := nodes(e.Value, f.kids, depth+1)
		if err != nil {
			n.Value = octets(e.Value)
			n.Damage = err.Error()
			return n
		}
		n.Nodes = inner
		if f.kids == "installError" {
			n.Explain = installation(e)
		}
		return n
	}
	if f.kids != "" { // an octet string that holds elements, if it does
		if inner, err := nodes(e.Value, f.kids, depth+1); err == nil && len(inner) > 0 {
			n.Nodes = inner
			return n
		}
	}
	n.Value, n.Explain = show(e.Value, f)
	return n
}

// guess names a bare SEQUENCE by the tags of its children: signed objects travel
// alone in the JSON binding.
func guess(e tlv.Element) field {
	var tags strings.Builder
	for r := e.Reader(); !r.Empty(); {
		tags.WriteString(r.Next().Tag.String() + " ")
	}
	for _, g := range []struct{ prefix, name, kind string }{
		{"80 81 83 84 ", "serverSigned1", "serverSigned1"},
		{"80 83 84 BF22 ", "euiccSigned1", "euiccSigned1"},
		{"80 01 ", "smdpSigned2", "smdpSigned2"},
		{"80 5F49 ", "euiccSigned2", "euiccSigned2"},
		{"80 81 82 ", "euiccCancelSessionSigned", "cancelSigned"},
		{"BF2F 5F37 ", "OtherSignedNotification", "otherNotification"},
		{"80 30 5F37 04 30 ", "InitiateAuthenticationOk", "initiateOk"},
		{"80 5A 81 ", "EuiccPackageSigned", "packageSigned"},
		{"A0 ", "EUICCResponse", "euiccResponse"},
	} {
		if strings.HasPrefix(tags.String(), g.prefix) {
			return field{name: g.name, kids: g.kind}
		}
	}
	if tags.String() == "30 30 03 " {
		return field{name: "certificate", format: "cert"}
	}
	return field{}
}

// installation explains an ErrorResult, whose meaning is in two of its children.
func installation(e tlv.Element) *Entry {
	r := e.Reader()
	command, reason := r.Int(tlv.Context(0)), r.Int(tlv.Context(1))
	if r.Err() != nil {
		return nil
	}
	if entry, ok := InstallError(int(command), int(reason)); ok {
		return &entry
	}
	return nil
}

// show puts the octets of a primitive element into words.
func show(v []byte, f field) (string, *Entry) {
	switch f.format {
	case "text":
		if utf8.Valid(v) {
			return strconv.Quote(string(v)), nil
		}
	case "int":
		if n, err := tlv.DecodeInt(v); err == nil {
			return strconv.FormatInt(n, 10), nil
		}
	case "bool":
		if len(v) == 1 {
			return strconv.FormatBool(v[0] != 0), nil
		}
	case "oid":
		if oid, err := ident.OIDFromOctets(v); err == nil {
			return string(oid), nil
		}
	case "eid":
		if eid, err := ident.EIDFromOctets(v); err == nil {
			return string(eid), nil
		}
	case "iccid":
		if iccid, err := ident.ICCIDFromOctets(v); err == nil {
			return string(iccid), nil
		}
	case "digits":
		return strings.TrimRight(fmt.Sprintf("%x", v), "f"), nil
	case "plmn":
		if s, ok := plmn(v); ok {
			return s, nil
		}
	case "version":
		if len(v) == 3 {
			return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]), nil
		}
	case "secret":
		return "[secret]", nil
	case "bits":
		if set, err := tlv.Bits(v); err == nil {
			return bitNames(set, f.args), nil
		}
	case "enum":
		if n, err := tlv.DecodeInt(v); err == nil {
			return enumName(n, f.args), nil
		}
	case "result":
		return result(v, f.args[0])
	}
	return octets(v), nil
}

// result shows a result code with what it means.
func result(v []byte, function string) (string, *Entry) {
	n, err := tlv.DecodeInt(v)
	if err != nil {
		return octets(v), nil
	}
	var e Entry
	var ok bool
	switch function {
	case "install":
		e, ok = InstallError(-1, int(n))
		if ok { // the element above explains it together with the command
			return fmt.Sprintf("%d %s", n, e.Title), nil
		}
	case "cancel":
		e, ok = CancelReason(int(n))
	case "pe":
		e, ok = PEStatus(int(n))
	default:
		e, ok = ES10(function, int(n))
	}
	if !ok {
		return strconv.FormatInt(n, 10), nil
	}
	if n == 0 && e.Who == Nobody {
		return "0 " + e.Title, nil
	}
	return fmt.Sprintf("%d %s", n, e.Title), &e
}

// octets shows octets in hexadecimal, and as text beside it where they are one.
func octets(v []byte) string {
	if len(v) == 0 {
		return ""
	}
	s := strings.ToUpper(hex.EncodeToString(v))
	printable := len(v) >= 3
	for _, o := range v {
		if o < 0x20 || o > 0x7E {
			printable = false
			break
		}
	}
	if printable {
		s += " " + strconv.Quote(string(v))
	}
	return s
}

func bitNames(set uint64, names []string) string {
	var on []string
	for bit := range 64 {
		if set&(1<<bit) == 0 {
			continue
		}
		name := fmt.Sprintf("bit %d", bit)
		if bit < len(names) {
			name = names[bit]
		}
		on = append(on, name)
	}
	if len(on) == 0 {
		return "none"
	}
	return strings.Join(on, ", ")
}

func enumName(n int64, names []string) string {
	prefix := strconv.FormatInt(n, 10) + " "
	for _, name := range names {
		if strings.HasPrefix(name, prefix) {
			return name
		}
	}
	return strconv.FormatInt(n, 10)
}

// plmn reads MCC and MNC. 3GPP TS 24.008, 10.5.1.13.
func plmn(v []byte) (string, bool) {
	if len(v) != 3 {
		return "", false
	}
	s := fmt.Sprintf("%X%X%X/%X%X", v[0]&15, v[0]>>4, v[1]&15, v[2]&15, v[2]>>4)
	if third := v[1] >> 4; third != 15 {
		s += fmt.Sprintf("%X", third)
	}
	return s, true
}

// certificate sums a certificate up in a line.
func certificate(der []byte) string {
	c, err := pki.ParseCertificate(der)
	if err != nil {
		return "unreadable: " + err.Error()
	}
	role := "certificate"
	if r := c.Role(); r != 0 {
		role = r.String() + " certificate"
	}
	s := fmt.Sprintf("%s of %s, by %s, %s to %s, %s", role, c.Subject, c.Issuer, c.NotBefore.Format("2006-01-02"), c.NotAfter.Format("2006-01-02"), c.PublicKey.Curve())
	if c.RegisteredID != "" {
		s += ", registered ID " + string(c.RegisteredID)
	}
	return s
}

// maxShown bounds the octets that the tree shows of one value.
const maxShown = 96

// Tree returns the message as an indented text.
func Tree(list []Node) string {
	var b strings.Builder
	tree(&b, list, 0)
	return b.String()
}

func tree(b *strings.Builder, list []Node, depth int) {
	indent := strings.Repeat("  ", depth)
	for _, n := range list {
		b.WriteString(indent + n.Tag)
		if n.Name != "" {
			b.WriteString(" " + n.Name)
		}
		switch {
		case n.Nodes != nil:
			fmt.Fprintf(b, " (%d)", n.Length)
		case len(n.Value) > 2*maxShown && strings.Trim(n.Value, "0123456789ABCDEF") == "":
			fmt.Fprintf(b, ": %s… (%d octets)", n.Value[:48], n.Length)
		case n.Value != "":
			b.WriteString(": " + n.Value)
		}
		if n.Damage != "" {
			b.WriteString(" (damaged: " + n.Damage + ")")
		}
		b.WriteByte('\n')
		if n.Explain != nil {
			for line := range strings.Lines(n.Explain.String()) {
				b.WriteString(indent + "  | " + line)
			}
		}
		tree(b, n.Nodes, depth+1)
	}
}

// Known reports whether the message begins with an element that has a name: what
// tells a message from text that happens to be hexadecimal.
func Known(list []Node) bool { return len(list) > 0 && list[0].Name != "" }
