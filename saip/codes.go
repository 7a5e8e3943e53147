package saip

import (
	"fmt"
	"slices"

	"godwit/milenage"
)

// A Code is a PIN, PUK or ADM code.
type Code struct {
	Reference  byte
	Value      [8]byte
	PUK        byte // reference of the code that unblocks it, 0 for none
	Attributes byte // bit 0: enabled
	Max, Left  byte // attempts
}

// Enabled reports whether the code must be given.
func (c *Code) Enabled() bool { return c.Attributes&1 == 1 }

// Default attempts and attributes of PINConfiguration and PUKConfiguration.
const (
	defaultPINTries   = 0x33
	defaultPUKTries   = 0xAA
	defaultAttributes = 7
)

// codeOf reads the members that PIN and PUK configurations share.
func codeOf(n *node, tries *node, otherwise int) (*Code, bool) {
	value := n.child(0x81).octets()
	ref := n.child(0x80).int(0)
	if len(value) != 8 || ref < 1 || ref > 255 {
		return nil, false
	}
	t := tries.int(otherwise)
	return &Code{Reference: byte(ref), Value: [8]byte(value), Max: byte(t) >> 4, Left: byte(t) & 0xF}, true
}

func (fs *FileSystem) addPUKs(e *Element) {
	for _, n := range e.node.child(0xA1).list() {
		c, ok := codeOf(n, n.child(0x82), defaultPUKTries)
		if !ok {
			fs.fail(e, RuleCode, "a PUK needs a reference and a value of 8 octets")
			continue
		}
		if fs.PUKs[c.Reference] != nil {
			fs.fail(e, RuleCode, "PUK %02X is there twice", c.Reference)
		}
		fs.PUKs[c.Reference] = c
	}
}

// addPINs gives codes to the directory made last: PINs of the MF are global,
// those of an application or a DF local. SAIP, 8.4.
func (fs *FileSystem) addPINs(e *Element) {
	df := fs.context
	if df == nil {
		fs.fail(e, RuleOrder, "it holds codes, but no directory precedes it")
		return
	}
	if shared := e.node.at(0xA1, 0x81); shared != nil {
		other := fs.Find(shared.value)
		if other == nil || !other.Directory() {
			fs.fail(e, RuleCode, "it shares the codes of %X, which is no directory", shared.value)
			return
		}
		df.PINs = other.PINs
		return
	}
	if df.PINs == nil {
		df.PINs = map[byte]*Code{}
	}
	for _, n := range e.node.at(0xA1, 0xA0).list() {
		c, ok := codeOf(n, n.child(0x84), defaultPINTries)
		if !ok {
			fs.fail(e, RuleCode, "a PIN needs a reference and a value of 8 octets")
			continue
		}
		c.Attributes = byte(n.child(0x83).int(defaultAttributes))
		c.PUK = byte(n.child(0x82).int(0))
		if c.PUK != 0 && fs.PUKs[c.PUK] == nil {
			fs.fail(e, RuleCode, "PIN %02X is unblocked by PUK %02X, which the package does not hold", c.Reference, c.PUK)
		}
		if df.PINs[c.Reference] != nil {
			fs.fail(e, RuleCode, "PIN %02X is there twice in one directory", c.Reference)
		}
		df.PINs[c.Reference] = c
	}
}

// PIN returns the code that a reference names within a directory: its own, else
// one of a directory above, else the global one. nil if there is none.
func (fs *FileSystem) PIN(dir *File, reference byte) *Code {
	for ; dir != nil; dir = dir.Parent {
		if c := dir.PINs[reference]; c != nil {
			return c
		}
	}
	return nil
}

// AKA is the authentication data of an application.
type AKA struct {
	Algorithm Algorithm
	K, OPc    []byte
	USIM      *milenage.USIM // the functions with their sequence numbers, ready to answer
}

// Algorithm is the function set of an akaParameter. The zero value leaves the
// template's.
type Algorithm int

// The algorithms of AlgoParameter.
const (
	Milenage Algorithm = 1
	TUAK     Algorithm = 2
	XOR      Algorithm = 3 // the USIM test algorithm of TS 34.108: never for subscribers
)

func (a Algorithm) String() string {
	switch a {
	case Milenage:
		return "Milenage"
	case TUAK:
		return "TUAK"
	case XOR:
		return "USIM test algorithm"
	}
	return "unknown algorithm"
}

// Members of AlgoParameter.
const (
	tagAlgorithm  = 0x80
	tagKey        = 0x82
	tagOPc        = 0x83
	tagRotation   = 0x84
	tagConstants  = 0x85
	tagIterations = 0x87
)

// defaultSQNBound is the default of sqnDelta and sqnAgeLimit.
const defaultSQNBound = 1 << 28

func (fs *FileSystem) addAKA(e *Element) {
	if len(fs.ADFs) == 0 || fs.context == nil || fs.context.Type != ADF {
		fs.fail(e, RuleOrder, "it authenticates an application, but none precedes it")
		return
	}
	adf := fs.context
	if adf.AKA != nil {
		fs.fail(e, RuleAKA, "the application %X has authentication data already", adf.AID)
		return
	}
	if mapping := e.node.at(0xA1, 0xA0); mapping != nil {
		source := fs.Application(mapping.child(0x81).octets())
		if source == nil || source.AKA == nil {
			fs.fail(e, RuleAKA, "it uses the authentication data of %X, which is not there", mapping.child(0x81).octets())
			return
		}
		adf.AKA = source.AKA
		return
	}
	aka, err := e.readAKA()
	if err != nil {
		fs.fail(e, RuleAKA, "%v", err)
		return
	}
	adf.AKA = aka
}

// readAKA makes the functions and sequence numbers of an akaParameter.
func (e *Element) readAKA() (*AKA, error) {
	n := e.node.at(0xA1, 0xA1)
	aka := &AKA{
		Algorithm: Algorithm(n.child(tagAlgorithm).int(0)),
		K:         slices.Clone(n.child(tagKey).octets()),
		OPc:       slices.Clone(n.child(tagOPc).octets()),
	}
	functions, err := aka.functions(n)
	if err != nil {
		return nil, err
	}
	aka.USIM = &milenage.USIM{Functions: functions}
	options := byte(0x02)
	if o := e.node.child(0x82).octets(); len(o) == 1 {
		options = o[0]
	}
	// The options switch the two bounds of TS 33.102, C.2 on.
	if options&0x02 != 0 {
		aka.USIM.Delta = sequence(e.node.child(0x83), defaultSQNBound)
	}
	if options&0x01 != 0 {
		aka.USIM.AgeLimit = sequence(e.node.child(0x84), defaultSQNBound)
	}
	for i, s := range e.node.child(0xA5).list() {
		if i < len(aka.USIM.SEQ) {
			aka.USIM.SEQ[i] = sequence(s, 0)
		}
	}
	return aka, nil
}

func (a *AKA) functions(n *node) (milenage.Functions, error) {
	switch a.Algorithm {
	case Milenage:
		constants := milenage.DefaultConstants
		if r := n.child(tagRotation).octets(); len(r) == 5 {
			constants.R = [5]byte(r)
		}
		if c := n.child(tagConstants).octets(); len(c) == 80 {
			for i := range constants.C {
				constants.C[i] = [16]byte(c[16*i:])
			}
		}
		return milenage.NewWithConstants(a.K, a.OPc, constants)
	case TUAK:
		return milenage.NewTUAK(a.K, a.OPc, milenage.DefaultLengths, n.child(tagIterations).int(1))
	case XOR:
		return milenage.NewXOR(a.K)
	}
	return nil, fmt.Errorf("algorithm %d is none of 1 Milenage, 2 TUAK, 3 USIM test algorithm", int(a.Algorithm))
}

// sequence reads six octets.
func sequence(n *node, otherwise uint64) uint64 {
	if n == nil || len(n.value) != 6 {
		return otherwise
	}
	return milenage.SQN(n.value).Number()
}
