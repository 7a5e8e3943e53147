package saip

import "godwit/milenage"

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

// A FileSystem is the UICC that an eUICC builds from a package.
type FileSystem struct {
	MF   *File
	ADFs []*File       // in order of creation
	PUKs map[byte]Code // unblock codes by reference
}

// A File is one DF, ADF or EF. A linked file has Data of its target: look
// through [File.Target].
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
	LifeCycle    byte   // 05 activated
	Security     []byte // reference into EF.ARR: tag 8B
	PINStatus    []byte // PIN status template: tag C6, of a DF
	Link         *File  // the file whose content this one shows

	PINs map[byte]*Code // of the MF: global and ADM codes; of a DF: local ones
	AKA  *AKA           // of an ADF that authenticates
}

// A Code is a PIN, PUK or ADM code.
type Code struct {
	Reference  byte
	Value      [8]byte
	PUK        byte // reference of the code that unblocks it, 0 for none
	Attributes byte // bit 0: enabled
	Max, Left  byte // attempts
}

// AKA is the authentication data of an application.
type AKA struct {
	Algorithm Algorithm
	K, OPc    []byte
	USIM      *milenage.USIM // the functions with their sequence numbers, ready to answer
}

// FileSystem builds the files of the package as an eUICC would.
func (p *Package) FileSystem() (*FileSystem, error) { return nil, nil }
