package explain

import (
	_ "embed"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

//go:embed symbols.txt
var symbolText string

// symbols are the codes by their names in the ASN.1 modules, which is what many
// programs print.
var symbols = sync.OnceValue(func() map[string][]string {
	out := make(map[string][]string)
	for line := range strings.Lines(symbolText) {
		name, code, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok && name != "#" {
			out[plain(name)] = append(out[plain(name)], code)
		}
	}
	return out
})

// plain takes out what programs write differently in a name.
func plain(name string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(name))
}

// Find explains a code as people type it on a command line or copy it from a
// log:
//
//	8.2.6/3.8        8.2.6 3.8        8.2.6        a status code or half of it
//	83007            20404                         a code of the API
//	install 12       PIR 5 12                      an installation result, with or without the command
//	authenticate 6   download 2       cancel 3     errors and reasons of a download
//	pe 9             enable 2         sw 6985      profile elements, functions, status words
//	pprNotAllowed    ppr_not_allowed               a name of an ASN.1 module
//
// It returns all entries that the text may mean, the likeliest first, and none
// when it means nothing that is known.
func Find(text string) []Entry {
	words := split(text)
	if len(words) == 0 {
		return nil
	}
	if entries := findStatus(words); entries != nil {
		return entries
	}
	if numbers, ok := integers(words); ok {
		return findNumbers(numbers)
	}
	if entries := findNamed(words); entries != nil {
		return entries
	}
	return findSymbol(text)
}

// findSymbol reads a name of an ASN.1 module, with or without its number in
// brackets behind it: iccidAlreadyExistsOnEuicc(9).
func findSymbol(text string) []Entry {
	name, _, _ := strings.Cut(strings.TrimSpace(text), "(")
	var out []Entry
	for _, code := range symbols()[plain(name)] {
		out = append(out, Find(code)...)
	}
	return out
}

// split cuts a text into its words. Slashes, commas, colons and equal signs
// separate; letter case does not count.
func split(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune("/,:;=()#\"'", r)
	})
}

// findStatus reads a subject and a reason, or one of them. A number without a
// dot counts only where a word beside it says what it is.
func findStatus(words []string) []Entry {
	var halves []string
	named := ""
	switch first := strings.TrimSuffix(words[0], "code"); first {
	case "subject", "reason":
		named = first
	}
	for _, w := range words {
		w = strings.Trim(w, "{}")
		if strings.Trim(w, "0123456789.") == "" && !strings.HasSuffix(w, ".") && (strings.Contains(w, ".") || named != "") {
			halves = append(halves, w)
		}
	}
	var out []Entry
	add := func(e Entry, ok bool) {
		if ok {
			out = append(out, e)
		}
	}
	switch len(halves) {
	case 0:
		return nil
	case 1:
		if named != "reason" {
			add(Subject(halves[0]))
		}
		if named != "subject" {
			add(Reason(halves[0]))
		}
	default:
		add(Status(halves[0], halves[1]))
		if out == nil { // written the other way round
			add(Status(halves[1], halves[0]))
		}
	}
	return out
}

func integers(words []string) ([]int, bool) {
	out := make([]int, 0, len(words))
	for _, w := range words {
		n, err := strconv.Atoi(w)
		if err != nil {
			return nil, false
		}
		out = append(out, n)
	}
	return out, true
}

// findNumbers reads numbers without a word: a code of the API, or whatever has
// that number.
func findNumbers(numbers []int) []Entry {
	n := numbers[0]
	if len(numbers) == 1 && n >= 10000 {
		if e, ok := APIError(n); ok {
			return []Entry{e}
		}
		return nil
	}
	var out []Entry
	add := func(e Entry, ok bool) {
		if ok {
			out = append(out, e)
		}
	}
	if len(numbers) == 2 {
		add(InstallError(n, numbers[1]))
		return out
	}
	if len(numbers) > 2 {
		return nil
	}
	if n >= 1000 { // 6985, typed without "sw"
		sw, err := strconv.ParseUint(strconv.Itoa(n), 16, 16)
		if err == nil {
			add(StatusWord(uint16(sw)))
		}
		return out
	}
	add(InstallError(-1, n))
	add(AuthenticateError(n))
	add(DownloadError(n))
	add(CancelReason(n))
	add(PEStatus(n))
	return out
}

// names are the words for the tables, besides the functions of the eUICC.
var names = map[string]func(int) (Entry, bool){
	"authenticate": AuthenticateError, "authenticateserver": AuthenticateError, "auth": AuthenticateError,
	"download": DownloadError, "preparedownload": DownloadError, "prepare": DownloadError,
	"cancel": CancelReason, "cancelsession": CancelReason,
	"pe": PEStatus, "pestatus": PEStatus,
	"api": APIError, "error": APIError, "code": APIError,
}

// findNamed reads a word and the numbers after it. Words that mean nothing
// (error, reason, status) may stand in between.
func findNamed(words []string) []Entry {
	var name []string
	var numbers []int
	for _, w := range words {
		if n, ok := number(w); ok {
			numbers = append(numbers, n)
		} else if !slices.Contains([]string{"reason", "status", "result", "errorreason", "bppcommandid", "the", "a"}, w) {
			name = append(name, w)
		}
	}
	if len(name) > 1 && len(numbers) > 0 { // "authenticate error 6", "PIR error 4 9"
		name = slices.DeleteFunc(name, func(w string) bool { return w == "error" || w == "code" })
	}
	full := strings.Join(name, " ")
	if sw, ok := statusWord(name); ok && len(numbers) == 0 {
		if e, ok := StatusWord(sw); ok {
			return []Entry{e}
		}
		return nil
	}
	if len(numbers) == 0 || len(numbers) > 2 {
		return nil
	}
	last := numbers[len(numbers)-1]
	var out []Entry
	add := func(e Entry, ok bool) {
		if ok && !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	switch full {
	case "install", "pir", "profileinstallationresult", "installation":
		command := -1
		if len(numbers) == 2 {
			command = numbers[0]
		}
		add(InstallError(command, last))
		return out
	case "sw":
		if sw, err := strconv.ParseUint(strconv.Itoa(last), 16, 16); err == nil {
			add(StatusWord(uint16(sw)))
		}
		return out
	}
	if table, ok := names[full]; ok {
		add(table(last))
	}
	if len(out) == 0 {
		add(ES10(full, last))
	}
	return out
}

// number reads 12, 0x0c and reason=12.
func number(w string) (int, bool) {
	if n, err := strconv.Atoi(w); err == nil {
		return n, true
	}
	if hex, ok := strings.CutPrefix(w, "0x"); ok {
		if n, err := strconv.ParseUint(hex, 16, 31); err == nil {
			return int(n), true
		}
	}
	return 0, false
}

// statusWord reads "6a88" and "sw 6a88".
func statusWord(name []string) (uint16, bool) {
	w := name
	if len(w) == 2 && w[0] == "sw" {
		w = w[1:]
	}
	if len(w) != 1 || len(w[0]) != 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(w[0], 16, 16)
	return uint16(n), err == nil
}

// All returns every entry, in the order of the tables: what documentation lists
// and tests go through.
func All() []Entry {
	var out []Entry
	for _, p := range pairs {
		e, _ := Status(p.code[:strings.Index(p.code, "/")], p.code[strings.Index(p.code, "/")+1:])
		out = append(out, e)
	}
	for _, s := range subjects {
		e, _ := Subject(s.code)
		out = append(out, e)
	}
	for _, r := range reasons {
		e, _ := Reason(r.code)
		out = append(out, e)
	}
	for _, t := range []struct {
		prefix string
		rows   []row
	}{
		{"authenticate", authenticateErrors},
		{"download", downloadErrors},
		{"cancel", cancelReasons},
		{"install", installErrors},
		{"pe", peStatuses},
	} {
		for _, r := range t.rows {
			out = append(out, r.entry(t.prefix))
		}
	}
	for _, f := range es10Functions {
		results := f.results
		if f.zero {
			results = slices.Insert(slices.Clone(results), 0, row{})
		}
		for _, r := range append(slices.Clone(results), undefined) {
			e, _ := ES10(f.name, r.n)
			out = append(out, e)
		}
	}
	for _, r := range statusWords {
		e, _ := StatusWord(uint16(r.n))
		out = append(out, e)
	}
	for _, r := range apiErrors {
		e, _ := APIError(r.n)
		out = append(out, e)
	}
	return out
}

// Suggest returns up to max codes whose words are nearest to a text in which
// Find sees nothing: those that begin alike, then those that share words.
func Suggest(text string, max int) []Entry {
	words := split(text)
	type scored struct {
		e     Entry
		score int
	}
	var list []scored
	for _, e := range All() {
		score := 0
		code := strings.ToLower(e.Code)
		for _, w := range words {
			switch {
			case strings.HasPrefix(code, w):
				score += 4
			case len(w) > 2 && strings.HasPrefix(code, w[:2]) && strings.Trim(w, "0123456789.") == "":
				score++
			}
			if len(w) > 3 && strings.Contains(strings.ToLower(e.Title), w) {
				score += 3
			} else if len(w) > 3 && strings.Contains(strings.ToLower(e.Cause), w) {
				score += 2
			}
		}
		if score > 0 {
			list = append(list, scored{e, score})
		}
	}
	slices.SortStableFunc(list, func(a, b scored) int { return b.score - a.score })
	var out []Entry
	for _, s := range list[:min(len(list), max)] {
		out = append(out, s.e)
	}
	return out
}
