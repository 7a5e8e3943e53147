package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"godwit/euicc"
	"godwit/ident"
	"godwit/internal/reference"
	"godwit/iot"
	"godwit/ipa"
	"godwit/lpa"
	"godwit/rsp"
	"godwit/trust"
)

// ourIPA is our IPA on our software eUICC, which has the published test
// certificate.
type ourIPA struct {
	*ipa.IPA
	t    *testing.T
	chip ipa.Chip
}

// newOurIPA makes an IPA that polls at a URL. Its eUICC speaks SGP.32, or is one
// of SGP.22 for which the IPA does that. The foreign eIM verifies results with
// the eUICC's certificate whoever signs, so there the IPA signs with the eUICC's
// key.
func newOurIPA(t *testing.T, set *trust.Set, url string, native, json bool) *ourIPA {
	t.Helper()
	config := sgp26Chip(t, "nist")
	config.IoT = native
	card, err := euicc.NewMemory(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { card.Close() })
	var chip ipa.Chip
	if native {
		chip, err = ipa.SGP32(card)
	} else {
		chip, err = ipa.Consumer(card, ipa.FileJournal(t.TempDir(), "chip.json"), config.Credentials[0].Key)
	}
	if err != nil {
		t.Fatal(err)
	}
	roots, err := set.Roots()
	if err != nil {
		t.Fatal(err)
	}
	return &ourIPA{&ipa.IPA{
		Chip: chip, LPA: &lpa.LPA{Chip: chip.LPA(), HTTP: lpa.NewHTTPClient(lpa.Trust{Roots: roots})},
		ESipa: &ipa.Client{URL: url, HTTP: &http.Client{}, JSON: json},
	}, t, chip}
}

// polls has it poll until nothing is left for it, at most 20 times.
func (o *ourIPA) polls() {
	o.t.Helper()
	for range 20 {
		more, err := o.Poll(o.t.Context())
		if err != nil {
			o.t.Fatalf("poll: %v", err)
		}
		if !more {
			return
		}
	}
	o.t.Fatal("our IPA finds no end")
}

// state returns whether the chip holds a profile, and whether it is enabled.
func (o *ourIPA) state(iccid ident.ICCID) (there, enabled bool) {
	o.t.Helper()
	list, err := o.chip.LPA().Profiles(rsp.Selector{})
	if err != nil {
		o.t.Fatal(err)
	}
	for _, p := range list {
		if p.ICCID == iccid {
			return true, p.Enabled != nil && *p.Enabled
		}
	}
	return false, false
}

// publishedPaths are the settings of the foreign eIM with the certificates by
// which it verifies what our eUICC signs.
func publishedPaths(t *testing.T) (settings []string) {
	t.Helper()
	for variable, name := range map[string]string{
		"OPENIOTRSP_EUICC_CERT_PATH": "CERT_EUICC_ECDSA_NIST.der", "OPENIOTRSP_EUM_CERT_PATH": "CERT_EUM_ECDSA_NIST.der",
		"OPENIOTRSP_CI_CERT_PATH": "CERT_CI_ECDSA_NIST.der",
	} {
		settings = append(settings, variable+"="+filepath.Join(reference.Dir(t), "sgp26", "nist", name))
	}
	return settings
}

// asn1Path stands before the foreign eIM, whose ASN.1 binding is at a path of its
// own, and returns where it is at that of SGP.32.
func (f *foreignEIM) asn1Path() string {
	f.t.Helper()
	target, err := url.Parse(f.url)
	if err != nil {
		f.t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != rsp.PathASN1 {
			http.NotFound(w, r)
			return
		}
		r.URL.Path = "/esipa"
		proxy.ServeHTTP(w, r)
	}))
	f.t.Cleanup(server.Close)
	return server.URL
}

// TestStrangerEIM has our IPA poll a foreign eIM, in both bindings, with an eUICC
// that speaks SGP.32 and with one for which the IPA does: what it downloads and
// does is accepted there, and true.
func TestStrangerEIM(t *testing.T) {
	stranger(t, "GODWIT_OPENIOTRSP_EIM", "")
	set := sgp26(t, sgp26NIST)
	p := startServerAs(t, set)
	w := witnessOf(t, p)
	for _, c := range []struct {
		name         string
		native, json bool
	}{{"SGP.32 eUICC, ASN.1", true, false}, {"SGP.32 eUICC, JSON", true, true}, {"SGP.22 eUICC, ASN.1", false, false}, {"SGP.22 eUICC, JSON", false, true}} {
		t.Run(c.name, func(t *testing.T) {
			f := startForeignEIM(t, sgp26EID, publishedPaths(t)...)
			url := f.url
			if !c.json {
				url = f.asn1Path()
			}
			o := newOurIPA(t, set, url, c.native, c.json)
			o.polls() // there is nothing to do
			config, err := iot.ParseEimConfiguration(f.configuration())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := o.chip.AddInitialEim([]iot.EimConfiguration{*config}); err != nil {
				t.Fatal(err)
			}

			var profiles [2]ident.ICCID
			for i := range profiles {
				iccid, code := orderOf(t, p, defaultType)
				downloaded := f.download(sgp26EID, code)
				o.polls()
				f.wantDone(downloaded, "")
				w.wantReported(t, string(iccid), "install installed", "install")
				if there, enabled := o.state(iccid); !there || enabled {
					t.Fatalf("after the download the profile is there: %v, enabled: %v", there, enabled)
				}
				profiles[i] = iccid
			}

			asked := f.queue("POST", "/devices/"+string(sgp26EID)+"/euicc-data/fetch", nil)
			o.polls()
			f.wantDone(asked, "")
			f.wantCertificate(t, c.native)

			device := "/devices/" + string(sgp26EID)
			first, second := fmt.Sprintf("%x", profiles[0].Octets()), fmt.Sprintf("%x", profiles[1].Octets())
			for _, step := range []struct {
				path    string
				body    any
				enabled [2]bool
			}{
				{"/profiles/" + first + "/enable", nil, [2]bool{true, false}},
				{"/profiles/" + first + "/disable", nil, [2]bool{false, false}},
				{"/profiles/" + first + "/enable", nil, [2]bool{true, false}},
				{"/profiles/" + second + "/enable", map[string]bool{"rollback": true}, [2]bool{false, true}},
				{"/profiles/get-rat", nil, [2]bool{false, true}},
				{"/profiles/immediate-enable", map[string]bool{"immediateEnableFlag": true}, [2]bool{false, true}},
				{"/profiles/default-dp-address", map[string]string{"defaultDpAddress": "dp.example.com"}, [2]bool{false, true}},
				{"/profiles/" + second + "/disable", nil, [2]bool{false, false}},
			} {
				id := f.queue("POST", device+step.path, step.body)
				o.polls()
				f.wantDone(id, step.path)
				listed := f.queue("POST", device+"/profiles/list", nil)
				o.polls()
				f.wantDone(listed, step.path)
				believed := f.profiles(sgp26EID)
				for i, digits := range []string{first, second} {
					there, enabled := o.state(profiles[i])
					if !there || enabled != step.enabled[i] {
						t.Errorf("after %s profile %d is there: %v, enabled: %v", step.path, i, there, enabled)
					}
					if enabled, there := believed[digits]; !there || enabled != step.enabled[i] {
						t.Errorf("after %s the foreign eIM believes %v to be there", step.path, believed)
					}
				}
			}
			address, err := o.chip.LPA().Addresses()
			if err != nil || address.DefaultDP != "dp.example.com" {
				t.Errorf("the chip's default SM-DP+ is %q, %v", address.DefaultDP, err)
			}

			// What the eUICC refuses is refused there: twice the same.
			again := f.manage(sgp26EID, profiles[1], "POST", "/disable")
			o.polls()
			if e := f.end(again); e.Operation.Status != "failed" {
				t.Errorf("disabling a disabled profile ended there as %+v", e)
			}
			deleted := f.manage(sgp26EID, profiles[1], "DELETE", "")
			o.polls()
			f.wantDone(deleted, "")
			if there, _ := o.state(profiles[1]); there {
				t.Error("the profile is there after its deletion")
			}
			w.wantReported(t, string(profiles[0]), "install installed", "install", "enable", "disable", "enable", "disable")
			w.wantReported(t, string(profiles[1]), "install installed", "install", "enable", "disable", "delete")
		})
	}
}

// wantCertificate checks what the foreign eIM knows of the eUICC. One of SGP.22
// has no command for its certificate.
func (f *foreignEIM) wantCertificate(t *testing.T, native bool) {
	t.Helper()
	var answer struct {
		Certificate []byte `json:"euiccCertificateBase64"`
		Info2       []byte `json:"euiccInfo2Base64"`
	}
	f.call("GET", "/devices/"+string(sgp26EID)+"/euicc-data", nil, &answer)
	if _, err := rsp.ParseEUICCInfo2(answer.Info2); err != nil {
		t.Errorf("the foreign eIM has no euiccInfo2: %v", err)
	}
	want := sgp26Chip(t, "nist").Credentials[0].EUICC.Raw[4:] // without its outer SEQUENCE
	if native && !bytes.HasSuffix(answer.Certificate, want) {
		t.Errorf("the foreign eIM has as certificate of the eUICC %x", answer.Certificate)
	}
}

// TestStrangerEIMForged has our eUICC and our IPA handed a package whose
// signature is not that of the eIM that they know: nothing happens, and the
// foreign eIM is told so.
func TestStrangerEIMForged(t *testing.T) {
	stranger(t, "GODWIT_OPENIOTRSP_EIM", "")
	set := sgp26(t, sgp26NIST)
	for _, native := range []bool{true, false} {
		t.Run(map[bool]string{true: "SGP.32 eUICC", false: "SGP.22 eUICC"}[native], func(t *testing.T) {
			f := startForeignEIM(t, sgp26EID, publishedPaths(t)...)
			o := newOurIPA(t, set, f.url, native, true)
			config, err := iot.ParseEimConfiguration(f.configuration())
			if err != nil {
				t.Fatal(err)
			}
			// The same name, the key of somebody else.
			config.Certificate, config.PublicKey = nil, set.Members[0].Identity.CI.PublicKey.Info()
			if _, err := o.chip.AddInitialEim([]iot.EimConfiguration{*config}); err != nil {
				t.Fatal(err)
			}
			id := f.queue("POST", "/devices/"+string(sgp26EID)+"/profiles/default-dp-address", map[string]string{"defaultDpAddress": "evil.example.com"})
			for range 3 {
				if _, err := o.Poll(t.Context()); err != nil {
					t.Log(err)
				}
			}
			if e := f.end(id); e.Operation.Status != "failed" {
				t.Errorf("the foreign eIM says of a package that our eUICC does not believe: %+v", e)
			}
			if a, err := o.chip.LPA().Addresses(); err != nil || a.DefaultDP == "evil.example.com" {
				t.Errorf("the chip's default SM-DP+ is %q, %v", a.DefaultDP, err)
			}
		})
	}
}

// deaf is an HTTP transport through which notifications do not get while it is
// shut.
type deaf struct{ shut atomic.Bool }

func (d *deaf) through(next http.RoundTripper) http.RoundTripper { return deafTransport{d, next} }

type deafTransport struct {
	*deaf
	next http.RoundTripper
}

func (d deafTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.shut.Load() && strings.HasSuffix(r.URL.Path, "/"+rsp.FnHandleNotification) {
		return nil, errors.New("the SM-DP+ is out of reach")
	}
	return d.next.RoundTrip(r)
}

// TestStrangerEIMNumbers has the foreign eIM acknowledge a download with the
// number of its own queue, which is that of the eUICC's installation result, too,
// while the SM-DP+ is out of reach: the SM-DP+ hears of the installation all the
// same.
func TestStrangerEIMNumbers(t *testing.T) {
	stranger(t, "GODWIT_OPENIOTRSP_EIM", "")
	set := sgp26(t, sgp26NIST)
	p := startServerAs(t, set)
	w := witnessOf(t, p)
	f := startForeignEIM(t, sgp26EID, publishedPaths(t)...)
	o := newOurIPA(t, set, f.url, true, true)
	var d deaf
	d.shut.Store(true)
	o.LPA.HTTP.Transport = d.through(o.LPA.HTTP.Transport)
	iccid, code := orderOf(t, p, defaultType)
	downloaded := f.download(sgp26EID, code)
	o.polls()
	f.wantDone(downloaded, "")
	list, err := o.chip.LPA().Retrieve(rsp.NotificationFilter{})
	if err != nil || len(list) == 0 || !list[0].Installation || list[0].Metadata.Sequence != 1 {
		for _, n := range list {
			t.Logf("%s with number %d", n.Metadata.Event, n.Metadata.Sequence)
		}
		t.Fatalf("the installation result does not wait in the chip for the SM-DP+ (%v)", err)
	}
	d.shut.Store(false)
	if deliveries, err := o.LPA.Notify(t.Context()); err != nil || slices.ContainsFunc(deliveries, func(d lpa.Delivery) bool { return d.Err != nil }) {
		t.Fatalf("deliver notifications: %+v, %v", deliveries, err)
	}
	w.wantReported(t, string(iccid), "install installed", "install")
}
