package reader

import (
	"encoding/csv"
	"errors"
	"strconv"
	"strings"
)

// Facts are what a modem tells about itself and its network. What it does not
// tell is empty.
type Facts struct {
	IMEI     string
	Firmware string
	ICCID    string
	Carrier  string // name of the operator that it is registered with
	Network  string // GSM, UMTS, LTE, NR…
	APN      string
	Phone    string
	IP       string
	Signal   string // dBm
	Percent  string
}

// Facts asks the modem. A command that it refuses leaves its fact empty; the
// error is of the way to the modem.
func (m *Modem) Facts() (f Facts, err error) {
	ask := func(command string) said {
		if err != nil {
			return nil
		}
		answer, failed := m.line.ask(commandTime, command)
		if _, refused := errors.AsType[*refusal](failed); failed != nil && !refused {
			err = failed
		}
		if failed != nil {
			return nil
		}
		return answer
	}
	f.IMEI = digits(ask("AT+CGSN"), 14, 16)
	f.Firmware = first(ask("AT+CGMR"), "+CGMR:")
	for _, command := range []string{"AT+CCID", "AT+ICCID", "AT+QCCID"} {
		if f.ICCID = digits(ask(command), 18, 20); f.ICCID != "" {
			break
		}
	}
	// Names in words, not in numbers. 3GPP TS 27.007, 7.3.
	ask("AT+COPS=3,0")
	f.Carrier, f.Network = operator(ask("AT+COPS?").after("+COPS:"))
	f.Signal, f.Percent = signal(ask("AT+CSQ").after("+CSQ:"))
	if fields := values(ask("AT+CGDCONT?").after("+CGDCONT:")); len(fields) > 2 {
		f.APN = fields[2]
	}
	if fields := values(ask("AT+CGPADDR=1").after("+CGPADDR:")); len(fields) > 1 && fields[1] != "0.0.0.0" {
		f.IP = fields[1]
	}
	if fields := values(ask("AT+CNUM").after("+CNUM:")); len(fields) > 1 {
		f.Phone = fields[1]
	}
	return f, err
}

// values reads the fields of an answer, some of them in quotes.
func values(text string) []string {
	if text == "" {
		return nil
	}
	r := csv.NewReader(strings.NewReader(text))
	r.LazyQuotes, r.TrimLeadingSpace = true, true
	fields, err := r.Read()
	if err != nil {
		return nil
	}
	for i, f := range fields {
		fields[i] = strings.Trim(strings.TrimSpace(f), `"`)
	}
	return fields
}

// first returns the first line that is an answer and nothing said unasked.
func first(lines said, prefix string) string {
	if text := lines.after(prefix); text != "" {
		return strings.Trim(text, `"`)
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "+") {
			return line
		}
	}
	return ""
}

// digits returns the first number of so many digits; ICCIDs are padded with F.
func digits(lines said, least, most int) string {
	for _, line := range lines {
		if _, after, found := strings.Cut(line, ":"); found && strings.HasPrefix(line, "+") {
			line = after
		}
		line = strings.TrimRight(strings.Trim(strings.TrimSpace(line), `"`), "Ff")
		if len(line) >= least && len(line) <= most && strings.Trim(line, "0123456789") == "" {
			return line
		}
	}
	return ""
}

// technologies are the access technologies of 3GPP TS 27.007, 7.3.
var technologies = map[string]string{
	"0": "GSM", "1": "GSM", "2": "UMTS", "3": "EDGE", "4": "HSDPA", "5": "HSUPA", "6": "HSPA", "7": "LTE", "8": "EC-GSM-IoT",
	"9": "NB-IoT", "10": "LTE", "11": "NR", "12": "NG-RAN", "13": "EN-DC",
}

// operator reads `mode,format,"name",technology`.
func operator(text string) (name, network string) {
	fields := values(text)
	if len(fields) > 2 {
		name = fields[2]
	}
	if len(fields) > 3 {
		network = technologies[fields[3]]
	}
	return name, network
}

// signal reads `rssi,ber`: 0 is -113 dBm or less, 31 is -51 or more, 99 unknown.
// 3GPP TS 27.007, 8.5.
func signal(text string) (dBm, percent string) {
	fields := values(text)
	if len(fields) == 0 {
		return "", ""
	}
	n, err := strconv.Atoi(fields[0])
	if err != nil || n < 0 || n > 31 {
		return "", ""
	}
	return strconv.Itoa(2*n - 113), strconv.Itoa(n * 100 / 31)
}
