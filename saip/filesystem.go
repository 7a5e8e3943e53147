package saip

import (
	"encoding/binary"
	"fmt"
)

// A FileSystem is the UICC that an eUICC builds from a package.
type FileSystem struct {
	MF   *File
	ADFs []*File        // in order of creation; their Parent is the MF
	PUKs map[byte]*Code // unblock codes by reference

	context *File // the DF that codes and algorithms belong to
	size    int   // of all files so far
	trouble []Problem
}

// FileSystem builds the files of the package as an eUICC would. The error is the
// first reason why it cannot; [Package.Validate] lists all of them. Every call
// returns a fresh file system that its caller may change.
func (p *Package) FileSystem() (*FileSystem, error) {
	fs := p.build()
	for _, problem := range fs.trouble {
		if !problem.Warning {
			return nil, problem
		}
	}
	if fs.MF == nil {
		return nil, Problem{Rule: RuleOrder, Text: "the package makes no MF"}
	}
	return fs, nil
}

// build makes what it can and notes what it cannot.
func (p *Package) build() *FileSystem {
	fs := &FileSystem{PUKs: map[byte]*Code{}}
	for _, e := range p.Elements {
		switch {
		case components(e.Kind) != nil:
			fs.addTemplate(e)
		case e.Kind == KindGenericFiles:
			fs.addGeneric(e)
		case e.Kind == KindPUKCodes:
			fs.addPUKs(e)
		case e.Kind == KindPINCodes:
			fs.addPINs(e)
		case e.Kind == KindAKA:
			fs.addAKA(e)
		}
	}
	fs.link()
	return fs
}

func (fs *FileSystem) fail(e *Element, rule, format string, args ...any) {
	fs.trouble = append(fs.trouble, Problem{PE: e.ID, Kind: e.Kind, Rule: rule, Text: fmt.Sprintf(format, args...)})
}

// byDefault tells the templates whose files exist even where the package does
// not mention them. TCA annex A.
func (k Kind) byDefault() bool {
	return k == KindMF || k == KindUSIM || k == KindISIM || k == KindIoT
}

// addTemplate builds the files of an element with a template.
func (fs *FileSystem) addTemplate(e *Element) {
	parent := fs.MF
	switch e.Kind {
	case KindMF, KindIoT, KindCD, KindTelecom, KindUSIM, KindISIM, KindCSIM:
	default: // within the application made last
		if len(fs.ADFs) == 0 {
			fs.fail(e, RuleOrder, "it adds to an application, but none precedes it")
			return
		}
		parent = fs.ADFs[len(fs.ADFs)-1]
	}
	version := templateVersion(e.node.child(0x81).octets())
	root, current := parent, parent
	for i, c := range components(e.Kind) {
		n := e.node.child(c.tag)
		if n == nil && !(e.Kind.byDefault() && (c.content != "" || c.kind == ADF || c.name == "mf")) {
			continue
		}
		if n != nil && n.child(tagDoNotCreate) != nil {
			continue
		}
		var members []*node
		if n != nil {
			members = n.children
		}
		f := newFile(c, version, members, false)
		f.pe = e
		switch {
		case c.name == "mf":
			if fs.MF != nil {
				fs.fail(e, RuleOrder, "there is a second MF")
				return
			}
			f.Type, f.ID = DF, 0x3F00
			fs.MF, root, current, fs.context = f, f, f, f
			continue
		case fs.MF == nil:
			fs.fail(e, RuleOrder, "it makes files, but no MF precedes it")
			return
		case c.kind == ADF:
			fs.ADFs = append(fs.ADFs, f)
			f.Parent = fs.MF
			root, current, fs.context = f, f, f
			continue
		case c.kind == DF:
			under := root
			if i == 0 {
				under = parent
				root = f
				if parent == fs.MF {
					fs.context = f
				}
			}
			fs.add(e, under, f)
			current = f
			continue
		}
		fs.add(e, current, f)
	}
}

// maxFiles bounds all files together: what no eUICC has, and no reader of a
// foreign package should be made to allocate.
const maxFiles = 4 << 20

// add puts a file under its parent.
func (fs *FileSystem) add(e *Element, parent, f *File) {
	f.Parent = parent
	if fs.size += len(f.Data); fs.size > maxFiles {
		fs.fail(e, RuleLength, "%s: the files together are larger than %d octets", f, maxFiles)
		f.Data, f.fill = nil, nil
		return
	}
	if f.ID == 0 {
		fs.fail(e, RuleFile, "%s has no file identifier, neither in its descriptor nor in the template", f)
		return
	}
	if parent.Child(f.ID) != nil && f.linkPath == nil {
		fs.fail(e, RuleFile, "%s: there is a file %04X in this directory already", f, f.ID)
		return
	}
	if f.overflow > 0 {
		fs.fail(e, RuleFile, "%s: its content is %d octets longer than the file", f, f.overflow)
	}
	if !f.Directory() && f.linkPath == nil && f.Type != BERTLV && len(f.Data) == 0 {
		fs.fail(e, RuleFile, "%s has no size, neither in its descriptor nor in the template", f)
	}
	parent.Children = append(parent.Children, f)
}

// addGeneric runs the commands of a genericFileManagement: choose a path, create
// a file, write into it. SAIP, 8.3.
func (fs *FileSystem) addGeneric(e *Element) {
	if fs.MF == nil {
		fs.fail(e, RuleOrder, "it makes files, but no MF precedes it")
		return
	}
	for _, list := range e.node.child(0xA1).list() {
		current, file, at := fs.MF, (*File)(nil), 0
		for _, n := range list.children {
			switch n.tag {
			case 0x80:
				f := fs.Find(n.value)
				if f == nil {
					fs.fail(e, RuleFile, "path %X leads to no file", n.value)
					return
				}
				file, at = nil, 0
				if f.Directory() {
					current = f
				} else {
					current, file = f.Parent, f
				}
			case 0x62:
				f := newFile(nil, 1, []*node{{tag: tagDescriptor, children: n.children}}, current == fs.MF)
				f.pe, at = e, 0
				fs.add(e, current, f)
				if f.Type == ADF {
					fs.ADFs = append(fs.ADFs, f)
				}
				if f.Directory() {
					current, file = f, nil
				} else {
					file = f
				}
			case 0x02:
				at += bigEndian(n.value)
			case 0x81:
				if file == nil {
					fs.fail(e, RuleFile, "content %s follows no file", abbreviate(n.value))
					return
				}
				before := file.overflow
				if at = file.writeAt(at, n.value); file.overflow > before {
					fs.fail(e, RuleFile, "%s: its content is %d octets longer than the file", file, file.overflow)
				}
			}
		}
	}
}

// list returns the children of a node that may be absent.
func (n *node) list() []*node {
	if n == nil {
		return nil
	}
	return n.children
}

// Find follows a path of file identifiers from the MF, with temporary
// identifiers for ADFs. An empty path is the MF. It returns nil where it leads
// nowhere.
func (fs *FileSystem) Find(path []byte) *File {
	f := fs.MF
	if len(path) >= 2 && path[0] == 0x3F && path[1] == 0 {
		path = path[2:]
	}
	for ; len(path) >= 2 && f != nil; path = path[2:] {
		id := binary.BigEndian.Uint16(path)
		next := f.Child(id)
		if next == nil && f == fs.MF {
			next = fs.temporary(id)
		}
		f = next
	}
	return f
}

// temporary returns the ADF with a temporary identifier.
func (fs *FileSystem) temporary(id uint16) *File {
	for _, adf := range fs.ADFs {
		if adf.ID == id {
			return adf
		}
	}
	return nil
}

// Application returns the first ADF whose AID begins with aid, as SELECT by a
// partial name does, or nil.
func (fs *FileSystem) Application(aid []byte) *File {
	for _, adf := range fs.ADFs {
		if len(aid) <= len(adf.AID) && string(adf.AID[:len(aid)]) == string(aid) {
			return adf
		}
	}
	return nil
}

// Files calls visit for every file, directories before what is in them.
func (fs *FileSystem) Files(visit func(*File)) {
	var walk func(f *File)
	walk = func(f *File) {
		visit(f)
		for _, c := range f.Children {
			walk(c)
		}
	}
	if fs.MF == nil {
		return
	}
	walk(fs.MF)
	for _, adf := range fs.ADFs {
		walk(adf)
	}
}

// link resolves the link paths, after every file is there.
func (fs *FileSystem) link() {
	fs.Files(func(f *File) {
		if len(f.linkPath) == 0 { // an empty path makes a link of the template an ordinary file
			return
		}
		target := fs.Find(f.linkPath)
		switch {
		case target == nil:
			fs.fail(f.pe, RuleFile, "%s links to %X, which is no file", f, f.linkPath)
		case target == f || target.Content() == f:
			fs.fail(f.pe, RuleFile, "%s links to itself", f)
		default:
			f.Link = target
		}
	})
}

// abbreviate shows the beginning of octets.
func abbreviate(b []byte) string {
	if len(b) > 8 {
		return fmt.Sprintf("%X.. (%d octets)", b[:8], len(b))
	}
	return fmt.Sprintf("%X", b)
}
