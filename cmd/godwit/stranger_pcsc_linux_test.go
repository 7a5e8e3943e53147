package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"godwit/device"
	"godwit/ident"
	"godwit/lpa"
	"godwit/reader"
)

// insideVariable says that the test runs in its own namespaces.
const insideVariable = "GODWIT_TEST_INSIDE"

// inside runs the test once more in a network and a file tree of its own, and
// reports whether this is that run. pcscd has one fixed socket on a machine, and
// Debian's virtual reader listens on all interfaces: here there is only a
// loopback, which nobody else sees.
func inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideVariable) != "" {
		ownMachine(t)
		return true
	}
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	command.Env = append(os.Environ(), insideVariable+"=1")
	command.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
	}
	if os.Geteuid() != 0 {
		command.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		command.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		command.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	var output syncBuffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Skipf("%s skipped: this machine gives tests no namespaces of their own: %v", t.Name(), err)
	}
	err := command.Wait()
	t.Logf("in a network of its own:\n%s", &output)
	if err != nil {
		t.Fail()
	}
	if reason := regexp.MustCompile(`skipped: .*`).FindString(output.String()); err == nil && reason != "" && strings.Contains(output.String(), "--- SKIP: "+t.Name()+" ") {
		t.Skip(t.Name(), reason)
	}
	return false
}

// ownMachine makes the loopback usable and /run empty.
func ownMachine(t *testing.T) {
	t.Helper()
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatalf("keep mounts to ourselves: %v", err)
	}
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		t.Fatalf("empty /run: %v", err)
	}
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(s)
	request := struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	copy(request.name[:], "lo")
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); errno != 0 {
		t.Fatalf("bring up the loopback: %v", errno)
	}
}

// vpcdPort is where the virtual reader listens; it takes the next one as well.
const vpcdPort = 35963

// startPCSC starts pcscd with one virtual reader.
func startPCSC(t *testing.T) {
	t.Helper()
	line := stranger(t, "", "pcscd")
	driver := os.Getenv("GODWIT_VPCD")
	if driver == "" {
		driver = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so" // where Debian's package has it
	}
	if _, err := os.Stat(driver); err != nil {
		t.Skipf("%s skipped: the virtual reader's driver (vsmartcard-vpcd) is not there: %v", t.Name(), err)
	}
	dir := t.TempDir()
	reader := fmt.Sprintf("FRIENDLYNAME \"Godwit\"\nDEVICENAME /dev/null:%d\nLIBPATH %s\nCHANNELID 0x8C7B\n", vpcdPort, driver)
	if err := os.WriteFile(filepath.Join(dir, "vpcd"), []byte(reader), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("/run/pcscd", 0o755); err != nil {
		t.Fatal(err)
	}
	n := startStranger(t, foreign(context.Background(), line, "--foreground", "--config", dir))
	until(t, "pcscd has its socket", n, func() bool {
		_, err := os.Stat("/run/pcscd/pcscd.comm")
		return err == nil
	})
}

// insert puts a chip into the virtual reader until the test ends, and waits
// until the reader has noticed.
func insert(t *testing.T, dir string) {
	t.Helper()
	command := program(context.Background(), "euicc", "pcsc", "--dir", dir, "--reader", fmt.Sprintf("127.0.0.1:%d", vpcdPort))
	endWithTest(command)
	n := startStranger(t, command)
	t.Cleanup(func() {
		until(t, "the reader notices that the card is out", nil, func() bool { return !present(t) })
	})
	t.Cleanup(func() { command.Process.Signal(syscall.SIGTERM); <-n.ended })
	until(t, "the reader notices the card", n, func() bool { return present(t) })
}

// present reports whether a card is in the first reader, as opensc-tool sees it.
func present(t *testing.T) bool {
	t.Helper()
	said, err := runStranger(t, stranger(t, "", "opensc-tool"), "--list-readers")
	return err == nil && regexp.MustCompile(`(?m)^0\s+Yes\s`).MatchString(said)
}

// TestStrangerPCSC puts our eUICC into a virtual reader of pcscd: opensc-tool
// sends it what it sends to any card, and lpac works with it as with a chip.
func TestStrangerPCSC(t *testing.T) {
	stranger(t, "", "pcscd")
	openscTool := stranger(t, "", "opensc-tool")
	if !inside(t) {
		return
	}
	startPCSC(t)
	p := startServer(t)
	w := witnessOf(t, p)
	chip := testChip(t, p, 1)
	dir := chipIn(t, chip)

	t.Run("opensc-tool", func(t *testing.T) {
		insert(t, dir)
		for _, tt := range []struct {
			name string
			args []string
			want string // part of what it says
		}{
			{"answer to reset", []string{"--atr"}, "3b:9f:96:c0:0a:3f:c7:82:80:31:e0:73:fe:21:1b:47:6f:64:77:69:74:01:00"},
			{"select the ISD-R, read EUICCInfo1", []string{
				"-s", "00A4040010A0000005591010FFFFFFFF8900000100", "-s", "80E2910003BF200000",
			}, "BF 20"},
			{"open and close a channel", []string{"-s", "0070000001", "-s", "00708001"}, "SW1=0x90, SW2=0x00"},
			{"a command of nobody", []string{"-s", "80FF000000"}, "SW1=0x6D, SW2=0x00"},
		} {
			said, err := runStranger(t, openscTool, append([]string{"--reader", "0", "--card-driver", "default"}, tt.args...)...)
			if err != nil || !strings.Contains(said, tt.want) {
				t.Errorf("%s: %v, want %s in\n%s", tt.name, err, tt.want, said)
			}
		}
		// Without a driver named, it tries all that it knows.
		said, err := runStranger(t, openscTool, "--reader", "0", "--name")
		if err != nil {
			t.Errorf("probing with all card drivers: %v\n%s", err, said)
		}
		if !present(t) {
			t.Error("the card is gone after that")
		}
	})
	t.Run("lpac", func(t *testing.T) {
		t.Setenv("LPAC_HTTP", "curl")
		t.Setenv("LPAC_APDU", "pcsc")
		t.Setenv("LPAC_APDU_PCSC_DRV_IFID", "0")
		insert(t, dir)
		l := lpac{stranger(t, "GODWIT_LPAC", "lpac")}
		began := time.Now()
		l.work(t, p, w, chip)
		t.Logf("the whole life of two profiles took %s", time.Since(began).Round(time.Millisecond))
	})
}

// TestStrangerPCSCAgent has the agent reach its chip through pcscd: our own client
// of pcscd's socket against the real pcscd and its virtual reader.
func TestStrangerPCSCAgent(t *testing.T) {
	stranger(t, "", "pcscd")
	stranger(t, "", "opensc-tool")
	if !inside(t) {
		return
	}
	startPCSC(t)
	if _, err := reader.OpenPCSC(reader.PCSCSocket(), ""); err == nil || !strings.Contains(err.Error(), "no card in") {
		t.Errorf("a reader without a card: %v", err)
	}
	if _, err := reader.OpenPCSC(reader.PCSCSocket(), "Nowhere"); err == nil || !strings.Contains(err.Error(), "no reader has") {
		t.Errorf("a reader of nobody: %v", err)
	}
	y := newYard(t)
	for serial, iot := range []bool{false, true} {
		t.Run(map[bool]string{false: "consumer", true: "iot"}[iot], func(t *testing.T) {
			y := &yard{process: &process{t: t, data: y.data, credentials: y.credentials}, app: y.app, by: y.by}
			p := y.newPost(serial+1, iot).asUser()
			p.args = append(p.args, "--ca", y.credentials.CICertificate)
			through := []string{"--card", "pcsc:Godwit"}
			var iccid ident.ICCID
			t.Run("in the reader", func(t *testing.T) {
				insert(t, p.chip)
				p.must(through...)
				id := p.act(device.Download, func(r *device.ActionRequest) { r.ActivationCode = y.code() })
				p.must(through...)
				iccid = p.wantDone(id).ICCID
				id = p.act(device.Enable, func(r *device.ActionRequest) { r.ICCID = iccid })
				p.must(through...)
				p.wantDone(id)
				card, err := reader.Open("pcsc:Godwit")
				if err != nil {
					t.Fatal(err)
				}
				// Another program may use the card at once.
				chip, err := lpa.OpenChip(card)
				if err != nil {
					t.Fatal(err)
				}
				if eid, err := chip.EID(); err != nil || eid != p.eid {
					t.Errorf("EID %s, %v", eid, err)
				}
				if err := card.Close(); err != nil {
					t.Error(err)
				}
			})
			p.wantProfiles(string(iccid) + " true")
		})
	}
}
