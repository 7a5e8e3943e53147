// Package explain says what result codes mean: the status codes of SGP.22, the
// errors of an eUICC, the results of installations and of profile packages, and
// the codes of the Super SIM API. Each has its cause in plain words, who must
// act, and the next step. It also shows messages of the protocols as trees.
//
// The package is the only owner of these facts. It knows no protocol beyond the
// names of its elements, and it judges nothing.
package explain

import (
	"fmt"
	"strings"
)

// An Entry is what is known about one code.
type Entry struct {
	Code   string `json:"code"`             // as [Find] takes it: 8.2.6/3.8, install 12, 83007
	Title  string `json:"title"`            // a few words
	Cause  string `json:"cause"`            // what happened, in sentences
	Who    string `json:"who"`              // who must act, see the constants
	Next   string `json:"next"`             // what to do, in sentences
	Clause string `json:"clause,omitempty"` // where it is specified
}

// Who must act.
const (
	Nobody      = "nobody"
	User        = "device user"
	DeviceMaker = "device maker"
	Operator    = "operator"
	Admin       = "server administrator"
	EUICCMaker  = "eUICC maker"
	Developer   = "developer of the API client"
)

// String returns the entry as a short text for logs and terminals.
func (e Entry) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", e.Code, e.Title)
	fmt.Fprintf(&b, "  cause  %s\n", e.Cause)
	fmt.Fprintf(&b, "  who    %s\n", e.Who)
	fmt.Fprintf(&b, "  next   %s\n", e.Next)
	if e.Clause != "" {
		fmt.Fprintf(&b, "  see    %s\n", e.Clause)
	}
	return b.String()
}

// row is an entry of a table whose codes are numbers.
type row struct {
	n                               int
	title, cause, who, next, clause string
}

func (r row) entry(prefix string) Entry {
	return Entry{Code: fmt.Sprintf("%s %d", prefix, r.n), Title: r.title, Cause: r.cause, Who: r.who, Next: r.next, Clause: r.clause}
}

// lookup finds a number in a table.
func lookup(table []row, prefix string, n int) (Entry, bool) {
	for _, r := range table {
		if r.n == n {
			return r.entry(prefix), true
		}
	}
	return Entry{}, false
}

// AuthenticateError explains an error of AuthenticateServer.
func AuthenticateError(n int) (Entry, bool) { return lookup(authenticateErrors, "authenticate", n) }

// DownloadError explains an error of PrepareDownload.
func DownloadError(n int) (Entry, bool) { return lookup(downloadErrors, "download", n) }

// CancelReason explains why a download was cancelled.
func CancelReason(n int) (Entry, bool) { return lookup(cancelReasons, "cancel", n) }

// PEStatus explains the status of a profile element.
func PEStatus(n int) (Entry, bool) {
	if e, ok := lookup(peStatuses, "pe", n); ok {
		return e, true
	}
	switch {
	case n >= 0x6000 && n <= 0x6FFF || n >= 0x9000 && n <= 0x9FFF:
		e := Entry{
			Code: fmt.Sprintf("pe %d", n), Title: fmt.Sprintf("card status %04X", n),
			Cause: fmt.Sprintf("An application of the profile answered %04X while it was installed.", n),
			Who:   Operator, Next: "Look the status word up in the specification of the application that the profile element loads, and correct the element.",
			Clause: "TCA profile package, PEStatus",
		}
		if sw, ok := StatusWord(uint16(n)); ok {
			e.Cause += " " + sw.Cause
		}
		return e, true
	case n >= 0xA000 && n <= 0xFFFF:
		return Entry{
			Code: fmt.Sprintf("pe %d", n), Title: "a maker's own status",
			Cause: fmt.Sprintf("The eUICC answered with a status of its maker's own, %d (%04X).", n, n),
			Who:   EUICCMaker, Next: "Ask the maker of the eUICC what the value means.", Clause: "TCA profile package, PEStatus",
		}, true
	}
	return Entry{}, false
}

// APIError explains a code of the Super SIM API or of this server.
func APIError(n int) (Entry, bool) {
	e, ok := lookup(apiErrors, "", n)
	e.Code = strings.TrimSpace(e.Code)
	return e, ok
}

// BPPCommand names the part of a bound profile package that an eUICC was at.
// SGP.22 v2.5, 2.5.6.
func BPPCommand(n int) (string, bool) {
	if n < 0 || n >= len(bppCommands) {
		return "", false
	}
	return bppCommands[n], true
}

// InstallError explains the result of an installation: the reason, and which
// part of the package the eUICC was at. A command below 0 is not mentioned.
func InstallError(command, reason int) (Entry, bool) {
	e, ok := lookup(installErrors, "install", reason)
	if !ok {
		return Entry{}, false
	}
	if name, known := BPPCommand(command); known {
		e.Code = fmt.Sprintf("install %d %d", command, reason)
		e.Cause += " It was at " + name + "."
	} else if command >= 0 {
		return Entry{}, false
	}
	return e, true
}

// ES10 explains a result of one of the eUICC's functions by the function's name
// (enable, disable, delete, ..). 0 is success in all of them.
func ES10(function string, n int) (Entry, bool) {
	function = strings.ToLower(function)
	switch function {
	case "authenticate", "authenticateserver":
		return AuthenticateError(n)
	case "download", "preparedownload":
		return DownloadError(n)
	}
	for i := range es10Functions {
		f := &es10Functions[i]
		if !f.named(function) {
			continue
		}
		if n == 0 && f.zero {
			return Entry{
				Code: f.name + " 0", Title: "done", Cause: "The eUICC has done what " + f.full + " asked for.",
				Who: Nobody, Next: "Nothing is to be done.", Clause: f.clause,
			}, true
		}
		e, ok := lookup(f.results, f.name, n)
		if !ok && n == 127 {
			e, ok = undefined.entry(f.name), true
		}
		if e.Clause == "" {
			e.Clause = f.clause
		}
		return e, ok
	}
	return Entry{}, false
}

// StatusWord explains the status word of an APDU.
func StatusWord(sw uint16) (Entry, bool) {
	e, ok := lookup(statusWords, "", int(sw))
	if !ok {
		switch sw >> 8 {
		case 0x61, 0x6C, 0x91:
			e, ok = lookup(statusWords, "", int(sw)&0xFF00)
		}
	}
	e.Code = fmt.Sprintf("%04X", sw)
	return e, ok
}
