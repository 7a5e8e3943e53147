package iot

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"godwit/ident"
	"godwit/rsp"
	"godwit/tlv"
)

//go:embed testdata/known.txt
var knownText string

const (
	testEID   ident.EID   = "89049032123451234512345678901235"
	testICCID ident.ICCID = "89001000000000000001"
)

var (
	testTime  = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	testOrder = []byte{1, 2, 3}
	testRun   = must(rsp.TransactionIDFromOctets(testOrder))
	testSig   = func() []byte {
		b := make([]byte, rsp.SignatureSize)
		for i := range b {
			b[i] = byte(i)
		}
		return b
	}()
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func unhex(s string) []byte { return must(hex.DecodeString(s)) }

// knownAnswers are the messages by their names.
func knownAnswers() map[string][]byte {
	out := map[string][]byte{}
	for line := range strings.Lines(knownText) {
		if name, content, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			out[name] = unhex(content)
		}
	}
	return out
}

// signedMessage puts the test's signature behind what is signed.
func signedMessage(arm tlv.Tag, signed []byte) []byte {
	content := rsp.AppendSignature(signed, testSig)
	if arm != 0 {
		content = tlv.Append(nil, arm, content)
	}
	return tlv.Append(nil, TagPackage, content)
}

func request(p *PackageRequest) func() []byte {
	return func() []byte { return signedMessage(0, p.append(nil)) }
}

func result(arm tlv.Tag, p *PackageResult) func() []byte {
	return func() []byte { return signedMessage(arm, p.append(nil)) }
}

func appended(a interface{ Append([]byte) []byte }) func() []byte {
	return func() []byte { return a.Append(nil) }
}

func asked(q any) func() []byte    { return func() []byte { return AppendASN1Request(nil, q) } }
func answered(p any) func() []byte { return func() []byte { return AppendASN1Response(nil, p) } }

// writers make the known answers from the values that the compiler was given.
func writers() map[string]func() []byte {
	psmo := func(id []byte, list ...PSMO) *PackageRequest {
		return &PackageRequest{EimID: "eim.example.com", EID: testEID, Counter: 5, TransactionID: id, PSMO: list}
	}
	config := EimConfiguration{
		ID: "b", FQDN: "b.example.com", IDType: EimIDFQDN, Counter: new(int64(200)), Token: new(int64(AskToken)),
		Protocols: RetrieveHTTPS | InjectHTTPS, CI: []byte{1, 2, 3, 4}, Indirect: true,
	}
	results := func(list ...OpResult) *PackageResult {
		return &PackageResult{EimID: "e", Counter: 5, TransactionID: testOrder, Sequence: 130, Results: list}
	}
	unsigned := unhex("BF5105A203800165")
	return map[string]func() []byte{
		"request psmo": request(psmo(testOrder,
			PSMO{Op: OpEnable, ICCID: testICCID, Rollback: true}, PSMO{Op: OpDisable, ICCID: testICCID},
			PSMO{Op: OpDelete, ICCID: testICCID}, PSMO{Op: OpGetRAT},
			PSMO{Op: OpImmediate, Immediate: &ImmediateEnable{Allowed: true, OID: "2.999.10", Address: "dp.example.com"}},
			PSMO{Op: OpSetFallback, ICCID: testICCID}, PSMO{Op: OpDropFallback},
			PSMO{Op: OpSetDefaultDP, Address: "dp.example.com"})),
		"request list": request(psmo(nil, PSMO{Op: OpList}, PSMO{Op: OpList, List: &rsp.ProfileInfoListRequest{Tags: unhex("5A9F70")}})),
		"request eco": request(&PackageRequest{EimID: "eim.example.com", EID: testEID, Counter: 5, TransactionID: testOrder, ECO: []ECO{
			{Op: OpAddEim, Config: &config},
			{Op: OpDeleteEim, EimID: "b"},
			{Op: OpUpdateEim, Config: &EimConfiguration{ID: "b", Counter: new(int64(1))}},
			{Op: OpListEim},
		}}),
		"result codes": result(armResult, results(
			OpResult{Op: OpEnable}, OpResult{Op: OpDisable, Code: 2}, OpResult{Op: OpDelete, Code: 21}, OpResult{Op: OpImmediate, Code: 7},
			OpResult{Op: OpDeleteEim, Code: 2}, OpResult{Op: OpUpdateEim, Code: 6}, OpResult{Op: OpRollback},
			OpResult{Op: OpSetFallback, Code: 3}, OpResult{Op: OpDropFallback, Code: 2}, OpResult{Op: OpSetDefaultDP, Code: 127},
			OpResult{Terminated: true, Code: TerminatedUnknown})),
		"result lists": result(armResult, results(
			OpResult{Op: OpAddEim, Token: new(int64(1))}, OpResult{Op: OpAddEim, Code: 5},
			OpResult{Op: OpListEim, Eims: []EimInfo{{"e", EimIDFQDN}, {"f", 0}}}, OpResult{Op: OpListEim, Code: 127},
			OpResult{Op: OpList, Profiles: []ProfileInfo{{
				ICCID: testICCID, Enabled: new(true), Emergency: new(false), Fallback: true, FallbackAllowed: new(true),
			}}},
			OpResult{Op: OpList, Code: ResultChangeOngoing},
			OpResult{Op: OpGetRAT, RAT: []rsp.Rule{{
				PPRs: rsp.PPR1, Operators: []rsp.OperatorID{{PLMN: [3]byte{0xEE, 0xEE, 0xEE}}}, ConsentRequired: true,
			}}})),
		"result error": result(armError, &PackageResult{EimID: "e", Counter: 5, ErrorCode: new(PackageECallActive)}),
		"result unsigned": func() []byte {
			return must((&PackageResult{Unsigned: true, EimID: "e", TransactionID: testOrder, Token: new(int64(300))}).Sign(nil, nil))
		},
		"data request": appended(&DataRequest{
			Tags: []tlv.Tag{DataInfo1, DataInfo2, DataEUMCertificate, DataEUICCCertificate, DataNotifications, DataToken, DataResults},
			CI:   []byte{1, 2}, Notifications: &rsp.NotificationFilter{Sequence: new(int64(7))}, Results: new(int64(8)), TransactionID: testOrder,
		}),
		"data error": appended(&DataResponse{TransactionID: testOrder, Error: new(DataCINotFound)}),
		"data response": appended(&DataResponse{
			DefaultDP: new("d"), RootDS: new("s"), Token: new(int64(9)), TransactionID: testOrder,
			Capabilities: &Capabilities{DirectDownload | IndirectDownload, RetrieveHTTPS},
		}),
		"trigger code":    appended(&DownloadTrigger{ActivationCode: "1$dp.example.com$X", TransactionID: testOrder}),
		"trigger default": appended(&DownloadTrigger{DefaultDP: true}),
		"trigger smds":    appended(&DownloadTrigger{SMDS: new("ds.example.com")}),
		"trigger root":    appended(&DownloadTrigger{SMDS: new("")}),
		"trigger none":    appended(&DownloadTrigger{}),
		"trigger failed":  appended(&DownloadResult{TransactionID: testOrder, Reason: new(int64(127)), Detail: []byte{0xAA}}),
		"poll":            asked(&GetEimPackageRequest{EID: testEID, StateChanged: true, Cause: new(CauseFallback), RPLMN: []byte{0, 0xF1, 0x10}}),
		"poll error":      answered(&GetEimPackageResponse{Error: EimNoPackage}),
		"provide error":   asked(&ProvideEimPackageResult{EID: testEID, Error: &ResultError{testOrder, ResultUnknownPackage}}),
		"provide both":    asked(&ProvideEimPackageResult{PackageResult: unsigned, Notifications: [][]byte{}}),

		"acknowledge":         answered(&ProvideEimPackageResultResponse{Acknowledged: []int64{1, 200}}),
		"acknowledge nothing": answered(&ProvideEimPackageResultResponse{}),
		"acknowledge error":   answered(&ProvideEimPackageResultResponse{Error: EimEIDNotFound}),
		"initiate":            asked(&InitiateAuthenticationRequest{EUICCChallenge: make([]byte, 16), SMDPAddress: "dp.example.com", TransactionID: testOrder}),
		"initiate error":      answered(&InitiateAuthenticationResponse{Refused: Refused{Error: RelayUnknownOrder}}),
		"authenticate error":  answered(&AuthenticateClientResponse{Refused: Refused{Error: 8}}),
		"authenticate ds":     answered(&AuthenticateClientResponse{TransactionID: testRun, SMDS: true, Trigger: unhex("BF5400")}),
		"package error":       answered(&GetBoundProfilePackageResponse{Refused: Refused{Error: RelayMetadataMismatch}}),
		"cancel ok":           answered(&CancelSessionResponse{}),
		"cancel error":        answered(&CancelSessionResponse{Refused{Error: 1}}),
		"eim configurations":  func() []byte { return AppendEimConfigurations(nil, []EimConfiguration{config}) },
		"get eim":             func() []byte { return AppendGetEimConfiguration(nil, "b") },
		"initial ok":          appended(&AddInitialEimResult{Tokens: []*int64{new(int64(1)), nil}}),
		"initial error":       appended(&AddInitialEimResult{Error: ResultAssociated}),
		"certs error":         appended(&Certs{Error: 1}),
		"get certs":           func() []byte { return AppendGetCerts(nil, []byte{1, 2}) },
		"rollback":            func() []byte { return AppendRefresh(nil, TagProfileRollback, true) },
		"rollback refused":    func() []byte { return AppendRollback(nil, 1, nil) },
		"rollback done":       func() []byte { return AppendRollback(nil, 0, unsigned) },
		"immediate configure": func() []byte { return AppendConfigureImmediate(nil, &ImmediateEnable{Allowed: true, OID: "2.999.10"}) },
		"immediate":           func() []byte { return AppendRefresh(nil, TagImmediateEnable, false) },
		"immediate answer":    func() []byte { return rsp.AppendResult(nil, TagImmediateEnable, 4) },
		"fallback answer":     func() []byte { return rsp.AppendResult(nil, TagExecuteFallback, ResultFallbackMissing) },
		"retrieve results":    func() []byte { return AppendRetrieveResults(nil) },
		"results":             func() []byte { return AppendResults(nil, [][]byte{unsigned}) },
		"reset":               func() []byte { return AppendMemoryReset(nil, ResetOperational|ResetEims|ResetImmediate) },
		"reset answer":        appended(&MemoryResetResult{0, new(int64(1)), new(int64(0))}),
		"connectivity":        func() []byte { return AppendConnectivityParameters(nil, []byte{1}) },
		"connectivity error":  func() []byte { return rsp.AppendListError(nil, TagConnectivityParameters, 1) },
		"default dp":          func() []byte { return AppendSetDefaultDP(nil, "a.b") },
		"template":            appended(&ISDRTemplate{Enabled: true}),
	}
}

// What we write is what the compiler writes.
func TestKnownAnswers(t *testing.T) {
	known := knownAnswers()
	for name, write := range writers() {
		want, ok := known[name]
		if !ok {
			t.Errorf("%s: no known answer", name)
			continue
		}
		if got := write(); !bytes.Equal(got, want) {
			t.Errorf("%s:\n have %X\n want %X", name, got, want)
		}
	}
}

// recode reads a message and writes it again from its fields.
func recode(name string, b []byte) ([]byte, error) {
	again := func(a interface{ Append([]byte) []byte }, err error) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		return a.Append(nil), nil
	}
	switch kind, _, _ := strings.Cut(name, " "); kind {
	case "request":
		p, err := ReadPackageRequest(b)
		if err != nil {
			return nil, err
		}
		return signedMessage(0, p.append(nil)), nil
	case "result":
		p, err := ReadResult(b)
		if err != nil {
			return nil, err
		}
		switch {
		case p.Unsigned:
			return p.Sign(nil, nil)
		case p.ErrorCode != nil:
			return signedMessage(armError, p.append(nil)), nil
		}
		return signedMessage(armResult, p.append(nil)), nil
	case "data":
		if name == "data request" {
			return again(ParseDataRequest(b))
		}
		return again(ParseDataResponse(b))
	case "trigger":
		if name == "trigger failed" {
			return again(ParseDownloadResult(b))
		}
		return again(ParseDownloadTrigger(b))
	}
	switch name {
	case "poll", "provide error", "provide both", "initiate", "notify compact pir", "notify compact other":
		q, err := ParseASN1Request(b)
		if err != nil {
			return nil, err
		}
		again := AppendASN1Request(nil, q)
		j, err := ParseJSONRequest(Function(q), MarshalJSONRequest(q))
		if err != nil {
			return nil, err
		}
		if other := AppendASN1Request(nil, j); !bytes.Equal(other, again) {
			return nil, fmt.Errorf("through JSON: %X", other)
		}
		return again, nil
	case "poll error", "acknowledge", "acknowledge nothing", "acknowledge error", "initiate error", "authenticate error",
		"authenticate ds", "package error", "cancel ok", "cancel error":
		p, err := ParseASN1Response(b)
		if err != nil {
			return nil, err
		}
		return AppendASN1Response(nil, p), nil
	case "eim configurations":
		list, err := ParseEimConfigurations(b)
		return AppendEimConfigurations(nil, list), err
	case "get eim":
		id, err := ParseGetEimConfiguration(b)
		return AppendGetEimConfiguration(nil, id), err
	case "initial ok", "initial error":
		return again(ParseAddInitialEimResult(b))
	case "certs error":
		return again(ParseCerts(b))
	case "get certs":
		ci, err := ParseGetCerts(b)
		return AppendGetCerts(nil, ci), err
	case "rollback":
		refresh, err := ParseRefresh(b, TagProfileRollback)
		return AppendRefresh(nil, TagProfileRollback, refresh), err
	case "rollback refused", "rollback done":
		code, raw, err := ParseRollback(b)
		return AppendRollback(nil, code, raw), err
	case "immediate configure":
		i, err := ParseConfigureImmediate(b)
		return AppendConfigureImmediate(nil, i), err
	case "results":
		list, err := ParseResults(b)
		return AppendResults(nil, list), err
	case "reset":
		o, err := ParseMemoryReset(b)
		return AppendMemoryReset(nil, o), err
	case "reset answer":
		return again(ParseMemoryResetResult(b))
	case "connectivity":
		http, err := ParseConnectivityParameters(b)
		return AppendConnectivityParameters(nil, http), err
	case "default dp":
		address, err := ParseSetDefaultDP(b)
		return AppendSetDefaultDP(nil, address), err
	case "template":
		if found := FindISDRTemplate(b); found != nil {
			return found.Append(nil), nil
		}
		return nil, tlv.ErrMissing
	}
	return b, nil
}

// What the compiler writes is read without loss.
func TestReadKnownAnswers(t *testing.T) {
	for name, want := range knownAnswers() {
		got, err := recode(name, want)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v\n have %X\n want %X", name, err, got, want)
		}
	}
	known := knownAnswers()
	if !IsRetrieveResults(known["retrieve results"]) || !IsRetrieveResults(unhex("BF2B028200")) || IsRetrieveResults(unhex("BF2B00")) {
		t.Error("a request for package results is not told apart")
	}
	if _, err := ParseConnectivityParameters(known["connectivity error"]); err == nil {
		t.Error("an error was read as parameters")
	}
	for _, name := range []string{"cancel", "cancel compact"} {
		// The compiler nests the member; by the rules of ASN.1 its tag is replaced.
		q := must(ParseASN1Request(known[name])).(*CancelSessionRequest)
		again := must(ParseASN1Request(AppendASN1Request(nil, q))).(*CancelSessionRequest)
		if !bytes.HasPrefix(q.CancelSessionResponse, unhex("BF41")) || !bytes.Equal(q.CancelSessionResponse, again.CancelSessionResponse) {
			t.Errorf("%s: %X, then %X", name, q.CancelSessionResponse, again.CancelSessionResponse)
		}
	}
}
