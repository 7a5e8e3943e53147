package agent

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"godwit/ipa"
	"godwit/reader"
)

// facts collects what is known about the device now. What cannot be found out
// is left out.
func (a *agent) facts() facts {
	f := facts{Version: Version, Platform: runtime.GOOS + "/" + runtime.GOARCH, Uptime: uptime(), MAC: firstMAC(), IP: a.address()}
	f.Hostname, _ = os.Hostname()
	f.Firmware = firmware(a.Firmware)
	modem, err := a.modem()
	if err != nil {
		a.log.Warn("the modem tells no facts", "err", err)
	}
	if modem == nil {
		return f
	}
	f.IMEI, f.ICCID, f.Carrier, f.Network, f.APN, f.Phone = modem.IMEI, modem.ICCID, modem.Carrier, modem.Network, modem.APN, modem.Phone
	f.Strength, f.Percent = number(modem.Signal), number(modem.Percent)
	if f.Firmware == "" {
		f.Firmware = modem.Firmware
	}
	if modem.IP != "" {
		f.IP = modem.IP
	}
	return f
}

func number(text string) *int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

// modem asks the modem that carries the card, or the one that was named.
func (a *agent) modem() (*reader.Facts, error) {
	if a.Modem != "" {
		m, err := reader.OpenModem(reader.Port{Device: a.Modem})
		if err != nil {
			return nil, err
		}
		f, err := m.Facts()
		return &f, errors.Join(err, m.Close())
	}
	var f *reader.Facts
	var err error
	a.card.with(func(c reader.Card) {
		if m, ok := c.(*reader.Modem); ok {
			var told reader.Facts
			told, err = m.Facts()
			f = &told
		}
	})
	return f, err
}

// uptime is how long the machine has been running, in seconds.
func uptime() int64 {
	content, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0
	}
	seconds, _, _ := strings.Cut(string(content), ".")
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// firstMAC is the address of the first interface that has one and is no bridge
// or tunnel of software.
func firstMAC() string {
	list, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, i := range list {
		// The second bit of the first octet marks addresses that were made up here.
		if i.Flags&net.FlagLoopback == 0 && len(i.HardwareAddr) == 6 && i.HardwareAddr[0]&2 == 0 {
			return i.HardwareAddr.String()
		}
	}
	return ""
}

// address is from where the server is reached. Nothing is sent.
func (a *agent) address() string {
	u, err := url.Parse(a.Server)
	if err != nil {
		return ""
	}
	conn, err := net.DialTimeout("udp", net.JoinHostPort(u.Hostname(), "9"), 5*time.Second)
	if err != nil {
		return ""
	}
	defer conn.Close()
	if local, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		return local.IP.String()
	}
	return ""
}

// firmware reads the version from a file: PRETTY_NAME of an os-release, else the
// first line.
func firmware(name string) string {
	file, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer file.Close()
	first := ""
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		line := strings.TrimSpace(scanner.Text())
		if value, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
			return cut(strings.Trim(value, `"'`))
		}
		if first == "" {
			first = line
		}
	}
	return cut(first)
}

// cut keeps a text within what the server takes.
func cut(text string) string { return strings.ToValidUTF8(text[:min(len(text), 255)], "") }

// factsCheck is how often facts are looked at.
const factsCheck = time.Minute

// reports tells the server what changed, and everything now and then; after
// failures with growing pauses, and not before the server wants it. It ends when
// the server no longer knows the token.
func (a *agent) reports(ctx context.Context, i *ipa.IPA) error {
	var last facts
	var at, notBefore time.Time
	failures := 0
	tick := time.NewTicker(factsCheck)
	defer tick.Stop()
	for {
		if now := a.facts(); !time.Now().Before(notBefore) && (a.doubted.Swap(false) || time.Since(at) >= a.Report || !same(now, last)) {
			poll, err := a.report(ctx, now)
			_, anew := errors.AsType[err401](err)
			switch {
			case ctx.Err() != nil:
				return nil
			case anew:
				return err
			case err != nil:
				pause := pauseAfter(failures, err)
				failures, notBefore = failures+1, time.Now().Add(pause)
				a.log.Warn("report", "err", err, "failures", failures, "pause", pause)
			default:
				last, at, failures = now, time.Now(), 0
				if poll > 0 && a.Poll == 0 {
					i.SetInterval(time.Duration(poll) * time.Second)
				}
			}
			a.metrics.report(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-a.changed:
		}
	}
}

// report tells the server the facts. Where it does not know the token any more the
// agent is to enrol again, and the error is an err401.
func (a *agent) report(ctx context.Context, f facts) (poll int, err error) {
	poll, err = a.server.report(ctx, a.memory.Token, f)
	if refused, ok := errors.AsType[*refusal](err); ok && refused.Status == http.StatusUnauthorized {
		a.enrol, err = true, err401{err}
	}
	return poll, err
}

// err401 hides the refusal from those who take it for lasting: the agent is to
// enrol again.
type err401 struct{ err error }

func (e err401) Error() string { return "report: " + e.err.Error() }

// same compares what does not change by itself.
func same(a, b facts) bool {
	for _, f := range []*facts{&a, &b} {
		f.Uptime, f.Strength, f.Percent = 0, nil, nil
	}
	return a == b
}
