package usage

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3162"
	"layeh.com/radius/rfc6911"

	"godwit/db"
	"godwit/ident"
)

// A Client is who may report over RADIUS: addresses and the secret they share
// with this server.
type Client struct {
	Addresses netip.Prefix
	Secret    db.Secret
}

// ParseClient reads a client as ADDRESS=SECRET or NETWORK=SECRET.
func ParseClient(text string) (Client, error) {
	where, secret, ok := strings.Cut(text, "=")
	if !ok || secret == "" {
		return Client{}, fmt.Errorf("want ADDRESS=SECRET or NETWORK/BITS=SECRET; %q has no secret", where)
	}
	if a, err := netip.ParseAddr(where); err == nil {
		a = a.Unmap()
		return Client{netip.PrefixFrom(a, a.BitLen()), db.Secret(secret)}, nil
	}
	p, err := netip.ParsePrefix(where)
	if err != nil {
		return Client{}, fmt.Errorf("%q is neither an IP address nor a network such as 192.0.2.0/24", where)
	}
	return Client{p.Masked(), db.Secret(secret)}, nil
}

// A Listener takes RADIUS accounting (RFC 2866) from the gateways of a core
// network. An Accounting-Response means that the report is stored: a gateway
// that hears none sends it again.
type Listener struct {
	Store   *Store
	Clients []Client // the one with the longest fitting network counts

	waiting    chan waitingReport
	restarting chan struct{} // a place for each restart that is being stored
}

type waitingReport struct {
	report Report
	done   chan error // closed, or gets one error
}

const (
	reportsAtOnce  = 500  // in one transaction
	reportsWaiting = 4096 // more are dropped: their gateways send them again
	restartsAtOnce = 8    // likewise
)

// Run takes packets from conn until ctx is over, and closes it.
func (l *Listener) Run(ctx context.Context, conn net.PacketConn) error {
	l.waiting, l.restarting = make(chan waitingReport, reportsWaiting), make(chan struct{}, restartsAtOnce)
	server := &radius.PacketServer{
		SecretSource: l,
		Handler:      l,
		// What strangers send is no trouble of ours.
		ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		l.write(context.WithoutCancel(ctx))
	}()
	stopped := make(chan error, 1)
	end := func() {
		// What has been taken is stored and answered before the end.
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		stopped <- server.Shutdown(grace)
	}
	stop := context.AfterFunc(ctx, end)
	err := server.Serve(conn)
	if stop() { // nobody has asked for the end: the port has broken
		conn.Close()
		end()
	}
	if e := <-stopped; e != nil {
		// Their handlers may still send to the writer.
		slog.WarnContext(ctx, "RADIUS reports under way were not waited for", "err", e)
	} else {
		close(l.waiting)
		<-writing
	}
	if errors.Is(err, radius.ErrServerShutdown) {
		return nil
	}
	return fmt.Errorf("serve RADIUS on %s: %w", conn.LocalAddr(), err)
}

// RADIUSSecret returns the secret of whoever is at an address, none for
// strangers: their packets are dropped without an answer.
func (l *Listener) RADIUSSecret(_ context.Context, remote net.Addr) ([]byte, error) {
	c, ok := l.client(remote)
	if !ok {
		return nil, nil
	}
	return c.Secret, nil
}

func (l *Listener) client(remote net.Addr) (best Client, ok bool) {
	at, err := netip.ParseAddrPort(remote.String())
	if err != nil {
		return best, false
	}
	for _, c := range l.Clients {
		if c.Addresses.Contains(at.Addr().Unmap()) && (!ok || c.Addresses.Bits() > best.Addresses.Bits()) {
			best, ok = c, true
		}
	}
	return best, ok
}

// ServeRADIUS stores one report and answers. What is no accounting request, or
// none that can be read, stays without an answer (RFC 2866, 4.1).
func (l *Listener) ServeRADIUS(w radius.ResponseWriter, r *radius.Request) {
	ctx := context.WithoutCancel(r.Context())
	client, ok := l.client(r.RemoteAddr)
	if !ok || r.Code != radius.CodeAccountingRequest {
		return
	}
	report, err := readReport(r.Packet, client.Addresses.String(), r.RemoteAddr, l.Store.now())
	if err != nil {
		slog.WarnContext(ctx, "RADIUS report that cannot be read", "client", r.RemoteAddr.String(), "err", err)
		return
	}
	switch report.Kind {
	case Start, Stop, Interim:
		one := waitingReport{report, make(chan error, 1)}
		select {
		case l.waiting <- one:
		default:
			return // too many at once: it will come again
		}
		err = <-one.done
	case accountingOn, accountingOff:
		select {
		case l.restarting <- struct{}{}:
		default:
			return
		}
		defer func() { <-l.restarting }()
		err = l.Store.Restarted(ctx, report.NAS, report.At)
	}
	if err != nil {
		slog.ErrorContext(ctx, "RADIUS report was not stored", "client", r.RemoteAddr.String(), "err", err)
		return
	}
	if err := w.Write(r.Response(radius.CodeAccountingResponse)); err != nil {
		slog.DebugContext(ctx, "RADIUS answer was not sent", "client", r.RemoteAddr.String(), "err", err)
	}
}

// write stores reports, those that wait together in one transaction.
func (l *Listener) write(ctx context.Context) {
	for first := range l.waiting {
		batch := []waitingReport{first}
	gather:
		for len(batch) < reportsAtOnce {
			select {
			case one, ok := <-l.waiting:
				if !ok {
					break gather
				}
				batch = append(batch, one)
			default:
				break gather
			}
		}
		reports := make([]Report, len(batch))
		for i, one := range batch {
			reports[i] = one.report
		}
		unknown, err := l.Store.Record(ctx, reports)
		if unknown > 0 {
			slog.WarnContext(ctx, "RADIUS reports about subscribers that are no Sim's", "reports", unknown, "of", len(reports))
		}
		for _, one := range batch {
			if err != nil && len(batch) > 1 {
				// One of them may be the trouble: each by itself.
				_, e := l.Store.Record(ctx, []Report{one.report})
				one.done <- e
				continue
			}
			one.done <- err
		}
	}
}

// readReport reads an accounting request.
func readReport(p *radius.Packet, client string, from net.Addr, now time.Time) (Report, error) {
	r := Report{Kind: Kind(rfc2866.AcctStatusType_Get(p)), At: now, Seconds: -1}
	if r.Kind == 0 {
		return r, errors.New("no Acct-Status-Type")
	}
	r.NAS = client + " " + reporter(p, from)
	switch at, err := rfc2869.EventTimestamp_Lookup(p); {
	case err == nil && at.Unix() > 0:
		r.At, r.Exact = at.UTC(), true
	default:
		// Acct-Delay-Time grows with every attempt, so that arrival minus delay is
		// the same moment each time, but for the way (RFC 2866, 5.2).
		delay := time.Duration(rfc2866.AcctDelayTime_Get(p)) * time.Second
		r.At = now.Add(-delay)
	}
	if r.Kind != Start && r.Kind != Stop && r.Kind != Interim {
		return r, nil
	}
	r.Session = printable(rfc2866.AcctSessionID_Get(p))
	if r.Session == "" {
		return r, errors.New("no Acct-Session-Id")
	}
	if seconds, err := rfc2866.AcctSessionTime_Lookup(p); err == nil {
		r.Seconds = int64(seconds)
	}
	r.Upload, r.Download = int64(rfc2866.AcctInputOctets_Get(p)), int64(rfc2866.AcctOutputOctets_Get(p))
	if high, err := rfc2869.AcctInputGigawords_Lookup(p); err == nil {
		r.Upload, r.Wide = r.Upload|int64(high)<<32, true
	}
	if high, err := rfc2869.AcctOutputGigawords_Lookup(p); err == nil {
		r.Download, r.Wide = r.Download|int64(high)<<32, true
	}
	if min(r.Upload, r.Download) < 0 || max(r.Upload, r.Download) > maxAmount {
		return r, fmt.Errorf("counters of %d and %d octets: no session has more than %d", uint64(r.Upload), uint64(r.Download), int64(maxAmount))
	}
	r.Addresses = addresses(p)
	readSubscriber(p, &r)
	if r.Subscriber == (Subscriber{}) {
		return r, errors.New("neither 3GPP-IMSI nor a User-Name or Calling-Station-Id that names a subscriber")
	}
	return r, nil
}

// reporter names the gateway: NAS-Identifier, else NAS-IP-Address, else the
// address that the packet came from.
func reporter(p *radius.Packet, from net.Addr) string {
	if name := printable(rfc2865.NASIdentifier_Get(p)); name != "" {
		return name
	}
	if ip := rfc2865.NASIPAddress_Get(p); ip != nil {
		return ip.String()
	}
	if ip := rfc3162.NASIPv6Address_Get(p); ip != nil {
		return ip.String()
	}
	host, _, err := net.SplitHostPort(from.String())
	if err != nil {
		return from.String()
	}
	return host
}

// printable returns octets as text that every database takes.
func printable(b []byte) string {
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return "x" + hex.EncodeToString(b)
		}
	}
	if !utf8.Valid(b) {
		return "x" + hex.EncodeToString(b)
	}
	return string(b)
}

// addresses returns the device's addresses. A prefix alone is not the
// address of a device, a prefix and an interface identifier are.
func addresses(p *radius.Packet) []netip.Addr {
	var all []netip.Addr
	add := func(ip net.IP) {
		if a, ok := netip.AddrFromSlice(ip); ok && !a.IsUnspecified() {
			all = append(all, a.Unmap())
		}
	}
	add(rfc2865.FramedIPAddress_Get(p))
	add(rfc6911.FramedIPv6Address_Get(p))
	if prefix := rfc3162.FramedIPv6Prefix_Get(p); prefix != nil {
		if id := rfc3162.FramedInterfaceID_Get(p); len(id) == 8 && len(prefix.IP) == 16 {
			if ones, _ := prefix.Mask.Size(); ones <= 64 {
				add(append(append(net.IP{}, prefix.IP[:8]...), id...))
			}
		}
	}
	return all
}

// Attributes of 3GPP, vendor 10415 (TS 29.061, 16.4.7.2).
const (
	vendor3GPP       = 10415
	attributeIMSI    = 1
	attributeServing = 18 // 3GPP-SGSN-MCC-MNC: of the serving network
)

// readSubscriber reads who the session is of, and where. IMSI and network come
// in attributes of 3GPP; gateways without them put the IMSI or the ICCID into
// User-Name, with or without a realm. Calling-Station-Id is the MSISDN.
func readSubscriber(p *radius.Packet, r *Report) {
	for _, avp := range p.Attributes {
		if avp.Type != rfc2865.VendorSpecific_Type || len(avp.Attribute) < 6 || binary.BigEndian.Uint32(avp.Attribute) != vendor3GPP {
			continue
		}
		for rest := avp.Attribute[4:]; len(rest) >= 2 && int(rest[1]) >= 2 && int(rest[1]) <= len(rest); rest = rest[rest[1]:] {
			value := strings.TrimRight(string(rest[2:rest[1]]), "\x00")
			switch rest[0] {
			case attributeIMSI:
				if imsi, err := ident.ParseIMSI(value); err == nil {
					r.Subscriber.IMSI = imsi
				}
			case attributeServing:
				if plmn, ok := parsePLMN(value); ok {
					r.Network = plmn
				}
			}
		}
	}
	name, _, _ := strings.Cut(rfc2865.UserName_GetString(p), "@")
	if iccid, err := ident.ParseICCID(name); err == nil && len(name) >= 18 {
		r.Subscriber.ICCID = iccid
	} else if r.Subscriber.IMSI == "" {
		// A name for AKA is the IMSI behind a digit for the method (3GPP TS 23.003, 14.3).
		if len(name) == 16 {
			name = name[1:]
		}
		if imsi, err := ident.ParseIMSI(name); err == nil && len(name) >= 14 {
			r.Subscriber.IMSI = imsi
		}
	}
	if msisdn, ok := ParseMSISDN(rfc2865.CallingStationID_GetString(p)); ok {
		r.Subscriber.MSISDN = msisdn
	}
}
