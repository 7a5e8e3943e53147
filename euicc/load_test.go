package euicc

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"godwit/ident"
	"godwit/pki"
	"godwit/rsp"
	"godwit/saip"
	"godwit/tlv"
)

// refusedWith loads units and checks how the card refuses them, that the result
// is kept, and that nothing of the profile is.
func refusedWith(t *testing.T, r *run, units [][]byte, command rsp.BPPCommand, reason rsp.InstallError) *rsp.InstallationResult {
	t.Helper()
	before := r.card.Status()
	result := r.load(units)
	if result.Error != reason || result.Command != command {
		t.Errorf("error %d in command %d, want %d in %d", result.Error, result.Command, reason, command)
	}
	after := r.card.Status()
	if after.Profiles != before.Profiles || after.Free != before.Free {
		t.Errorf("something of the profile is left: %+v, before %+v", after, before)
	}
	if after.Notifications != before.Notifications+1 {
		t.Errorf("%d notifications, before %d", after.Notifications, before.Notifications)
	}
	if _, sw := r.send(units[len(units)-1]); sw != swConditions {
		t.Errorf("a segment after the end: %04X", sw)
	}
	return result
}

// Item 52: a flipped bit in each kind of segment is a security error, at every
// place of the segment but its length.
func TestFlippedBits(t *testing.T) {
	kinds := []struct {
		name    string
		find    func(b *rsp.BoundProfilePackage) []byte
		command rsp.BPPCommand
	}{
		{"ConfigureISDP", func(b *rsp.BoundProfilePackage) []byte { return b.Configure[0] }, rsp.CommandConfigure},
		{"StoreMetadata", func(b *rsp.BoundProfilePackage) []byte { return b.Metadata[0] }, rsp.CommandMetadata},
		{"ReplaceSessionKeys", func(b *rsp.BoundProfilePackage) []byte { return b.Replace[0] }, rsp.CommandReplaceKeys},
		{"profile", func(b *rsp.BoundProfilePackage) []byte { return b.Profile[0] }, rsp.CommandLoadElements},
	}
	for _, curve := range bothCurves {
		for _, kind := range kinds {
			for _, place := range []string{"first", "last"} {
				t.Run(fmt.Sprintf("%s/%s/%s", curve, kind.name, place), func(t *testing.T) {
					r := newTester(t, config(curve)).run(curve)
					r.profileKeys = &rsp.Keys{Chaining: [16]byte{1}, ENC: [16]byte{2}, MAC: [16]byte{3}}
					b := r.ready().bind()
					segment := kind.find(b)
					at := len(segment) - 1 // of the MAC
					if place == "first" {
						at = len(segment) - len(must(tlv.Parse(segment)).Value)
					}
					segment[at] ^= 0x10
					refusedWith(t, r, b.Units(), kind.command, rsp.InstallSecurity)
				})
			}
		}
	}
}

// Item 52: order and form.
func TestOrderOfSegments(t *testing.T) {
	// A long profile, so that there are several segments of it.
	long := func(r *run) { r.profile = padded(r.profile, 4000) }
	for _, tt := range []struct {
		name    string
		change  func(units [][]byte) [][]byte
		command rsp.BPPCommand
		reason  rsp.InstallError
	}{
		{"swapped profile segments", func(u [][]byte) [][]byte {
			n := len(u)
			u[n-2], u[n-3] = u[n-3], u[n-2]
			return u
		}, rsp.CommandLoadElements, rsp.InstallSecurity},
		{"profile segment twice", func(u [][]byte) [][]byte { return slices.Insert(u, len(u)-2, u[len(u)-3]) }, rsp.CommandLoadElements, rsp.InstallSecurity},
		{"profile segment left out", func(u [][]byte) [][]byte { return slices.Delete(u, len(u)-3, len(u)-2) }, rsp.CommandLoadElements, rsp.InstallSecurity},
		{"metadata before ConfigureISDP", func(u [][]byte) [][]byte { return slices.Delete(u, 1, 2) }, rsp.CommandInitialise, rsp.InstallStructure},
		{"profile before metadata", func(u [][]byte) [][]byte { return slices.Delete(u, 2, 4) }, rsp.CommandConfigure, rsp.InstallStructure},
		{"header of a part left out", func(u [][]byte) [][]byte { return slices.Delete(u, 4, 5) }, rsp.CommandMetadata, rsp.InstallStructure},
		{"metadata segment among the profile", func(u [][]byte) [][]byte { return slices.Insert(u, 5, u[3]) }, rsp.CommandLoadElements, rsp.InstallStructure},
		{"the beginning twice", func(u [][]byte) [][]byte { return slices.Insert(u, 1, u[0]) }, rsp.CommandInitialise, rsp.InstallStructure},
		{"half a segment", func(u [][]byte) [][]byte {
			u[5] = u[5][:len(u[5])/2]
			return u
		}, rsp.CommandLoadElements, rsp.InstallStructure},
		{"segment too long", func(u [][]byte) [][]byte {
			u[5] = tlv.Append(nil, 0x86, make([]byte, 1200))
			return u
		}, rsp.CommandLoadElements, rsp.InstallStructure},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newTester(t, config(pki.P256)).run(pki.P256)
			long(r)
			units := slices.Clone(r.ready().bind().Units())
			refusedWith(t, r, tt.change(units), tt.command, tt.reason)
		})
	}
	t.Run("unknown tag does no harm", func(t *testing.T) {
		r := newTester(t, config(pki.P256)).run(pki.P256)
		long(r)
		units := r.ready().bind().Units()
		for i, unit := range units {
			if i > 0 {
				if _, sw := r.send([]byte{0x8F, 0x00}); sw != swDataNotFound {
					t.Errorf("unknown tag: %04X", sw)
				}
			}
			if out := r.es10(unit); len(out) > 0 {
				if result := r.verify(out); result.Error != 0 {
					t.Errorf("refused with %d", result.Error)
				}
			}
		}
		if r.card.Status().Profiles != 1 {
			t.Error("the profile was not installed")
		}
	})
	t.Run("package without a session", func(t *testing.T) {
		r := newTester(t, config(pki.P256)).run(pki.P256)
		units := r.ready().bind().Units()
		r.connect()
		if _, sw := r.send(units[0]); sw != swConditions {
			t.Errorf("answer %04X", sw)
		}
	})
}

// padded lengthens a package to exactly n octets by an element that any chip
// skips: unknown and not mandated. It goes before the end. A package that is too
// long for this stays as it is.
func padded(profile []byte, n int) []byte {
	for fill := n - len(profile); fill > n-len(profile)-24 && fill > 0; fill-- {
		filler := tlv.AppendNested(nil, 0xBF3F, func(b []byte) []byte {
			b = tlv.AppendNested(b, 0xA0, func(b []byte) []byte { return tlv.Append(b, 0x81, []byte{0x7F, 0}) })
			return tlv.Append(b, 0x81, bytes.Repeat([]byte{0xA5}, fill))
		})
		if len(profile)+len(filler) == n {
			return beforeEnd(profile, filler)
		}
	}
	return profile
}

// beforeEnd puts an element before the end of a package.
func beforeEnd(profile, element []byte) []byte {
	end := bytes.LastIndexByte(profile, byte(saip.KindEnd))
	return slices.Concat(profile[:end], element, profile[end:])
}

// Item 52: faults of InitialiseSecureChannel.
func TestInitialiseSecureChannelFaults(t *testing.T) {
	for _, curve := range bothCurves {
		a := authorities[curve]()
		for _, tt := range []struct {
			name   string
			change func(r *run)
			edit   func(bf23 []byte) // on the octets, signature and all
			reason rsp.InstallError
		}{
			{"other remote operation", nil, func(b []byte) { replaceOnce(b, "\x82\x01\x01", "\x82\x01\x02") }, rsp.InstallUnsupportedOperation},
			{"other transaction", func(r *run) { r.binding.TransactionID = rsp.NewTransactionID() }, nil, rsp.InstallInvalidTransactionID},
			{"key type DES", nil, func(b []byte) { replaceOnce(b, "\x80\x01\x88", "\x80\x01\x80") }, rsp.InstallUnsupportedCRT},
			{"key length 32", nil, func(b []byte) { replaceOnce(b, "\x81\x01\x10", "\x81\x01\x20") }, rsp.InstallUnsupportedCRT},
			{"signature by another key", func(r *run) { r.pb = &pki.Credential{Certificate: r.pb.Certificate, Key: a.dp.Auth.Key} }, nil, rsp.InstallInvalidSignature},
			{"signed for another one-time key", func(r *run) { r.binding.EUICCKey = r.binding.ServerKey }, nil, rsp.InstallInvalidSignature},
			{"signature with a flipped bit", nil, func(b []byte) { b[len(b)-1] ^= 1 }, rsp.InstallInvalidSignature},
			{"host identifier with a flipped bit", nil, func(b []byte) { replaceOnce(b, "godwit", "godwiu") }, rsp.InstallInvalidSignature},
			{"one-time key that is no point", func(r *run) { r.binding.ServerKey = append([]byte{4}, make([]byte, 64)...) }, nil, rsp.InstallIncorrectInput},
			{"without the key", nil, func(b []byte) { replaceOnce(b, "\x5F\x49\x41", "\x5F\x48\x41") }, rsp.InstallIncorrectInput},
		} {
			t.Run(curve.String()+"/"+tt.name, func(t *testing.T) {
				r := newTester(t, config(curve)).run(curve)
				b := r.ready().bind()
				if tt.change != nil {
					tt.change(r)
					b = r.packed()
				}
				if tt.edit != nil {
					tt.edit(b.Initialise)
				}
				refusedWith(t, r, b.Units(), rsp.CommandInitialise, tt.reason)
			})
		}
	}
	t.Run("malformed unit", func(t *testing.T) {
		r := newTester(t, config(pki.P256)).run(pki.P256)
		r.ready()
		if _, sw := r.send([]byte{0xBF, 0x36, 0x82, 0x10, 0x00, 0xBF, 0x23, 0x10}); sw != swWrongData {
			t.Errorf("half of InitialiseSecureChannel: %04X", sw)
		}
	})
}

func replaceOnce(b []byte, from, to string) {
	at := bytes.Index(b, []byte(from))
	if at < 0 {
		panic("nothing to replace")
	}
	copy(b[at:], to)
}

// Metadata that the chip refuses.
func TestMetadataFaults(t *testing.T) {
	owner := &rsp.OperatorID{PLMN: [3]byte{0x00, 0xF1, 0x10}}
	for _, tt := range []struct {
		name   string
		cfg    func(cfg *Config)
		before func(x *tester)
		change func(m *rsp.Metadata)
		reason rsp.InstallError
	}{
		{"policy rules without owner", nil, nil, func(m *rsp.Metadata) { m.PPRs, m.Owner = rsp.PPR2, nil }, rsp.InstallIncorrectInput},
		{"icon without type", nil, nil, func(m *rsp.Metadata) { m.Icon = []byte{1} }, rsp.InstallIncorrectInput},
		{"unknown class", nil, nil, func(m *rsp.Metadata) { m.Class = 3 }, rsp.InstallUnsupportedClass},
		{"class test on a chip without", func(cfg *Config) { cfg.NoTestProfiles = true }, nil, func(m *rsp.Metadata) { m.Class = rsp.ClassTest }, rsp.InstallUnsupportedClass},
		{"ICCID that is there", nil, func(x *tester) { x.add(1) }, func(m *rsp.Metadata) {}, rsp.InstallICCIDExists},
		{"forbidden rule", func(cfg *Config) { cfg.ForbiddenPPR = rsp.PPR1 }, nil, func(m *rsp.Metadata) { m.PPRs = rsp.PPR1 }, rsp.InstallPPRNotAllowed},
		{"rule that no operator may set", func(cfg *Config) { cfg.RAT = []rsp.Rule{} }, nil, func(m *rsp.Metadata) { m.PPRs = rsp.PPR2 }, rsp.InstallPPRNotAllowed},
		{"rule that this operator may not set", func(cfg *Config) {
			cfg.RAT = []rsp.Rule{{PPRs: rsp.PPR2, Operators: []rsp.OperatorID{{PLMN: [3]byte{0x99, 0xF9, 0x99}}}}}
		}, nil, func(m *rsp.Metadata) { m.PPRs, m.Owner = rsp.PPR2, owner }, rsp.InstallPPRNotAllowed},
		{"PPR1 beside another profile", nil, func(x *tester) { x.add(2) }, func(m *rsp.Metadata) { m.PPRs = rsp.PPR1 }, rsp.InstallPPRNotAllowed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(pki.P256)
			if tt.cfg != nil {
				tt.cfg(&cfg)
			}
			x := newTester(t, cfg)
			if tt.before != nil {
				tt.before(x)
			}
			r := x.run(pki.P256)
			tt.change(r.metadata)
			result := refusedWith(t, r, r.ready().bind().Units(), rsp.CommandMetadata, tt.reason)
			if result.Notification.ICCID != r.metadata.ICCID {
				t.Errorf("the result names profile %s", result.Notification.ICCID)
			}
		})
	}
	t.Run("not metadata", func(t *testing.T) {
		r := newTester(t, config(pki.P256)).run(pki.P256)
		r.ready().bind()
		r.binding.Metadata = []byte{0xBF, 0x25, 0x00}
		refusedWith(t, r, r.packed().Units(), rsp.CommandMetadata, rsp.InstallIncorrectInput)
	})
}

// Item 53: what is wrong in the package itself.
func TestProfileFaults(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cfg    func(cfg *Config)
		change func(r *run)
		reason rsp.InstallError
		status int // of the element, 0 for none
	}{
		{"ICCID of the header differs", nil, func(r *run) { r.profile = testProfile(r, testICCID(9)) }, rsp.InstallDataMismatch, 0},
		{"no memory", func(cfg *Config) { cfg.Memory = 2500 }, nil, rsp.InstallMemory, 0},
		{"no package", nil, func(r *run) { r.profile = []byte("no package") }, rsp.InstallElement, peInvalidFormat},
		{"no header", nil, func(r *run) {
			e := must(tlv.Parse(r.profile[:2+int(r.profile[1])]))
			r.profile = r.profile[len(e.Raw):]
		}, rsp.InstallElement, peInvalidFormat},
		{"major version 9", nil, func(r *run) { replaceOnce(r.profile, "\x80\x01\x02", "\x80\x01\x09") }, rsp.InstallElement, peUnsupportedVersion},
		{"service that the chip lacks", func(cfg *Config) { cfg.Capability = rsp.USIM }, nil, rsp.InstallElement, peFeature},
		{"unknown element that is mandated", nil, func(r *run) {
			r.profile = beforeEnd(r.profile, []byte{0xBF, 0x3F, 0x08, 0xA0, 0x06, 0x80, 0x00, 0x81, 0x02, 0x7F, 0x00})
		}, rsp.InstallElement, peNotSupported},
		{"identification twice", nil, func(r *run) {
			end := must(tlv.Parse(r.profile[bytes.LastIndexByte(r.profile, 0xAA):]))
			end.Value[len(end.Value)-1] = 2 // that of the MF
		}, rsp.InstallElement, peInvalidParameter},
		{"test profile with a subscriber's key", nil, func(r *run) {
			r.metadata.Class = rsp.ClassTest
			r.profile = bytes.Replace(r.profile, testKey, bytes.Repeat([]byte{0x5A}, 16), 1)
		}, rsp.InstallInvalidTestKey, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(pki.P256)
			if tt.cfg != nil {
				tt.cfg(&cfg)
			}
			r := newTester(t, cfg).run(pki.P256)
			if tt.change != nil {
				tt.change(r)
			}
			result := refusedWith(t, r, r.ready().bind().Units(), rsp.CommandLoadElements, tt.reason)
			code, _ := peStatusOf(t, result.SIMAResponse)
			if code != tt.status {
				t.Errorf("status of the element %d, want %d (%X)", code, tt.status, result.SIMAResponse)
			}
		})
	}
	t.Run("the element is named", func(t *testing.T) {
		r := newTester(t, config(pki.P256)).run(pki.P256)
		pkg := must(saip.Parse(r.profile))
		var aka *saip.Element
		for _, e := range pkg.Elements {
			if e.Kind == saip.KindAKA {
				aka = e
			}
		}
		// The algorithm is one that does not exist.
		at := bytes.Index(r.profile, aka.Bytes())
		replaceOnce(r.profile[at+8:], "\x80\x01\x01", "\x80\x01\x07")
		result := refusedWith(t, r, r.ready().bind().Units(), rsp.CommandLoadElements, rsp.InstallElement)
		if code, id := peStatusOf(t, result.SIMAResponse); code != peBadValues || id != aka.ID {
			t.Errorf("status %d of element %d, want %d of %d", code, id, peBadValues, aka.ID)
		}
	})
}

// peStatusOf reads the first PEStatus of a response.
func peStatusOf(t *testing.T, sima []byte) (code, id int) {
	t.Helper()
	if sima == nil {
		return 0, 0
	}
	r := tlv.NewReader(sima)
	response := r.Sub(tlv.Sequence)
	list := response.Sub(0xA0)
	status := list.Sub(tlv.Sequence)
	code, id = int(status.Int(0x80)), int(status.Int(0x81))
	if err := status.Err(); err != nil {
		t.Fatalf("response %X: %v", sima, err)
	}
	return code, id
}

// Item 53: the power is cut at every segment; the chip says so when it is back.
func TestPowerCutWhileLoading(t *testing.T) {
	x := newTester(t, config(pki.P256))
	for cut := 1; ; cut++ {
		r := x.run(pki.P256)
		r.profile = padded(r.profile, 3000)
		units := r.ready().bind().Units()
		x.card.SetFaults(Faults{PowerCutAfter: cut})
		silent := false
		for _, unit := range units {
			if silent = !x.survives(unit); silent {
				break
			}
		}
		x.card.SetFaults(Faults{})
		if !silent {
			if cut < 4 {
				t.Fatalf("the package has only %d segments", cut)
			}
			break // more than there are
		}
		x.connect()
		list := must(rsp.ParseNotifications(x.es10(rsp.AppendRetrieveNotifications(nil, rsp.NotificationFilter{}))))
		result := r.verify(list[len(list)-1].Raw)
		if len(list) != cut || result.Error != rsp.InstallInterrupted || x.card.Status().Profiles != 0 {
			t.Fatalf("cut %d: %d notifications, the last %+v", cut, len(list), result)
		}
		if known := result.Notification.ICCID != ""; known != (result.Command >= rsp.CommandReplaceKeys) {
			t.Errorf("cut %d in command %d: the result names profile %q", cut, result.Command, result.Notification.ICCID)
		}
	}
	if x.card.Status().Profiles != 1 {
		t.Error("the run without a cut installed nothing")
	}
}

// survives sends a command to a card that may fall silent.
func (x *tester) survives(data []byte) bool {
	for block := 0; len(data) > 0; block++ {
		n := min(len(data), 255)
		p1 := byte(0x11)
		if n == len(data) {
			p1 = 0x91
		}
		if _, err := x.card.Transmit(append([]byte{0x80 | byte(x.channel), 0xE2, p1, byte(block), byte(n)}, data[:n]...)); err != nil {
			return false
		}
		data = data[n:]
	}
	return true
}

// Lengths at which segments begin to differ, keys of the profile's own, and
// metadata in two segments. Item 26 and 27 seen from the chip.
func TestPackageSizes(t *testing.T) {
	for _, size := range []int{4 * 1007, 4*1007 + 1, 4*1007 + 2, 5*1007 - 1, 65535} {
		for _, keys := range []*rsp.Keys{nil, {Chaining: [16]byte{1}, ENC: [16]byte{2}, MAC: [16]byte{3}}} {
			t.Run(fmt.Sprintf("%d octets, own keys %v", size, keys != nil), func(t *testing.T) {
				r := newTester(t, config(pki.P256)).run(pki.P256)
				r.profileKeys = keys
				r.profile = padded(r.profile, size)
				if len(r.profile) != size {
					t.Fatalf("the package has %d octets", len(r.profile))
				}
				icon := int64(1)
				r.metadata.IconType, r.metadata.Icon = &icon, make([]byte, 1024)
				result := r.install()
				if result.Error != 0 {
					t.Errorf("refused with %d, %X", result.Error, result.SIMAResponse)
				}
			})
		}
	}
}

// Memory is taken and given back.
func TestMemory(t *testing.T) {
	cfg := config(pki.P256)
	cfg.Memory = 20000
	x := newTester(t, cfg)
	var iccids []ident.ICCID
	free := x.card.Status().Free
	for n := 1; ; n++ {
		r := x.run(pki.P256)
		r.metadata, r.profile = testMetadata(testICCID(n)), testProfile(x, testICCID(n))
		if result := r.install(); result.Error != 0 {
			if result.Error != rsp.InstallMemory || n < 3 {
				t.Fatalf("profile %d: error %d", n, result.Error)
			}
			break
		}
		iccids = append(iccids, r.metadata.ICCID)
		info := must(rsp.ParseEUICCInfo2(x.es10([]byte{0xBF, 0x22, 0})))
		if int(info.Resource.FreeNonVolatile) >= free || int(info.Resource.Applications) != n {
			t.Fatalf("resources %+v after %d profiles", info.Resource, n)
		}
		free = int(info.Resource.FreeNonVolatile)
	}
	for _, iccid := range iccids {
		if n := x.result(rsp.AppendDeleteProfile(nil, rsp.Selector{ICCID: iccid})); n != 0 {
			t.Fatalf("delete: %d", n)
		}
	}
	if got := x.card.Status().Free; got != cfg.Memory {
		t.Errorf("%d octets free after everything was deleted, want %d", got, cfg.Memory)
	}
}
