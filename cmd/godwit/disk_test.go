package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"godwit/db"
	"godwit/lpa"
	"godwit/rsp"
)

// TestFullDisk fills the disk under a running server. Every door answers
// clearly, nothing is half done, and when there is room again all goes on.
func TestFullDisk(t *testing.T) {
	disk := smallDisk(t, "48m")
	p := startServerIn(t, filepath.Join(disk, "data"))
	f := newFleet(t, p.set(), 4)
	f.reserve(p, "")

	filler := filepath.Join(disk, "filler")
	fill(t, filler)

	// The API: an error of ours in the API's shape, as soon as what the database
	// has of the disk is used up.
	var answer struct {
		Code, Status int
		Message      string
	}
	status, accepted := 0, 0
	for ; accepted < 20_000; accepted++ {
		if status = p.call("/v1/Fleets", url.Values{"NetworkAccessProfile": {"default"}, "UniqueName": {fmt.Sprint("fleet-", accepted)}}, &answer); status >= 300 {
			break
		}
	}
	if status < 500 || answer.Status != status || answer.Code == 0 {
		t.Errorf("a write on a full disk, after %d that found room: %d %+v", accepted, status, answer)
	}
	// The protocol door: HTTP status 200 with a failure that the LPA can read.
	first := f.devices[0]
	for range 3 {
		_, err := first.lpa.Download(t.Context(), first.request())
		var refused *rsp.Failure
		if !errors.As(err, &refused) {
			t.Fatalf("download on a full disk ended with %v, want a refusal of the server", err)
		}
		if refused.StatusCode.Subject == "8.2.6" {
			t.Fatalf("the full disk was explained as %v", refused)
		}
	}
	if n := len(first.card.Profiles()); n != 0 {
		t.Fatalf("%d profiles on the chip after refused downloads", n)
	}
	if !p.says("disk") {
		t.Error("the log does not say that the disk is full")
	}
	// What is only read goes on.
	if status := p.call("/v1/ESimProfiles/"+first.reservation.SID, nil, nil); status != http.StatusOK {
		t.Errorf("reading on a full disk: %d", status)
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := f.download(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	f.check(p)
	// What was accepted is there.
	if accepted > 0 {
		if status := p.call(fmt.Sprint("/v1/Fleets/fleet-", accepted-1), nil, nil); status != http.StatusOK {
			t.Errorf("the last Fleet that was accepted: %d", status)
		}
	}
}

// smallDisk mounts a file system of the given size for the test.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("%s skipped: no small disk can be mounted here: %v", t.Name(), err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes a file until the disk is full to the last octet.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		n, err := file.Write(block)
		if err == nil {
			continue
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if n == 0 {
			block = block[:len(block)/2]
		}
	}
}

// TestCorruptRow spoils the sealed secrets of one profile: its download is
// refused with a code, the log names the row, and the others are not harmed.
func TestCorruptRow(t *testing.T) {
	p := startServer(t)
	f := newFleet(t, p.set(), 2)
	f.reserve(p, "")
	d := p.database(dataFlags{})
	spoil(t, d, f.devices[0].reservation.ICCID)

	_, err := f.devices[0].lpa.Download(t.Context(), f.devices[0].request())
	var refused *rsp.Failure
	if !errors.As(err, &refused) {
		t.Fatalf("download of a corrupt row ended with %v, want a refusal of the server", err)
	}
	if !p.says("sealed") {
		t.Error("the log does not say what is wrong with the row")
	}
	if _, err := f.devices[1].lpa.Download(t.Context(), f.devices[1].request()); err != nil {
		t.Errorf("the neighbour's download: %v", err)
	}
}

// TestMalformedRequests sends what is no request to every path of the protocol
// door: no answer has a status of 500, and the server lives.
func TestMalformedRequests(t *testing.T) {
	p := startServer(t)
	roots, err := p.set().Roots()
	if err != nil {
		t.Fatal(err)
	}
	client := lpa.NewHTTPClient(lpa.Trust{Roots: roots})
	bodies := []string{
		"", "{", "null", "[]", "{}", `"x"`, "\x00\xff", strings.Repeat("[", 100_000),
		`{"transactionId":null}`, `{"transactionId":"zz"}`, `{"transactionId":"00"}`, `{"transactionId":5}`,
		`{"smdpAddress":"` + p.credentials.SMDPAddress + `","euiccChallenge":"!","euiccInfo1":""}`,
		`{"smdpAddress":"` + p.credentials.SMDPAddress + `","euiccChallenge":"AAAAAAAAAAAAAAAAAAAAAA==","euiccInfo1":"vyAA"}`,
		`{"transactionId":"00112233445566778899AABBCCDDEEFF","authenticateServerResponse":"vzgA"}`,
		`{"transactionId":"00112233445566778899AABBCCDDEEFF","prepareDownloadResponse":"vyEA"}`,
		`{"transactionId":"00112233445566778899AABBCCDDEEFF","cancelSessionResponse":"v0EA"}`,
		`{"pendingNotification":"vzcA"}`, `{"pendingNotification":"MIQ/////"}`,
	}
	var paths []string
	for _, f := range []string{rsp.FnInitiateAuthentication, rsp.FnAuthenticateClient, rsp.FnGetBoundProfilePackage, rsp.FnHandleNotification, rsp.FnCancelSession} {
		paths = append(paths, rsp.PathES9+f)
	}
	for _, f := range []string{rsp.FnDownloadOrder, rsp.FnConfirmOrder, rsp.FnCancelOrder, rsp.FnReleaseProfile} {
		paths = append(paths, rsp.PathES2+f)
	}
	paths = append(paths, rsp.PathASN1, "/", "/gsma/rsp2/es9plus/none", "/gsma/../x")
	for _, path := range paths {
		for _, contentType := range []string{rsp.ContentType, rsp.ContentTypeASN1, "text/plain", ""} {
			for _, body := range bodies {
				request, err := http.NewRequest(http.MethodPost, p.credentials.ES9URL+path, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				request.Header.Set("Content-Type", contentType)
				response, err := client.Do(request)
				if err != nil {
					t.Fatalf("%s %.40q: %v", path, body, err)
				}
				response.Body.Close()
				if response.StatusCode >= 500 {
					t.Errorf("%s %s %.60q: %s", path, contentType, body, response.Status)
				}
				if strings.HasSuffix(path, rsp.FnHandleNotification) && response.StatusCode != http.StatusNoContent {
					t.Errorf("%s %s %.60q: %s, want 204 whatever comes", path, contentType, body, response.Status)
				}
			}
		}
	}
	if strings.Contains(p.output.String(), "panic") {
		t.Errorf("a request made the server panic:\n%s", p.output)
	}
}

// spoil turns one bit of a profile's sealed secrets.
func spoil(t *testing.T, d *db.DB, iccid string) {
	t.Helper()
	err := d.Write(t.Context(), func(tx *db.Tx) error {
		var sealed []byte
		if err := tx.QueryRowContext(t.Context(), `select secrets from profile where iccid = $1`, iccid).Scan(&sealed); err != nil {
			return err
		}
		sealed[len(sealed)/2] ^= 1
		_, err := tx.ExecContext(t.Context(), `update profile set secrets = $1 where iccid = $2`, sealed, iccid)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
