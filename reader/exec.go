package reader

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// maxLine bounds a line of a program: the longest answer in hexadecimal.
const maxLine = 256 << 10

// apduTime is how long a card may take for one command: deleting a profile takes
// chips several seconds.
const apduTime = 60 * time.Second

// A stdioLine is a line of lpac's stdio APDU protocol, a request or an answer.
type stdioLine struct {
	Type    string       `json:"type"`
	Payload stdioPayload `json:"payload"`
}

type stdioPayload struct {
	Func  string  `json:"func,omitempty"`
	Param *string `json:"param,omitempty"`
	Code  *int    `json:"ecode,omitempty"`
	Data  string  `json:"data,omitempty"`
}

// errEnded is a program that reads and writes no more.
var errEnded = errors.New("the program has ended its output")

// A program is a child process that answers lpac's stdio APDU protocol: one JSON
// object a line, requests on its standard input, answers on its standard output.
// What it writes of other types is no concern of ours.
type program struct {
	name    string
	command *exec.Cmd
	in      io.WriteCloser
	lines   chan []byte // closed when the program has ended its output
	broken  error       // an answer is overdue: the next one would be the wrong one
}

// Exec starts a program and connects to the card behind it. The program ends
// with the card.
func Exec(line []string) (Card, error) {
	if len(line) == 0 {
		return nil, errors.New("the program that carries APDUs is missing")
	}
	p := &program{name: line[0], command: exec.Command(line[0], line[1:]...), lines: make(chan []byte)}
	p.command.Stderr = os.Stderr
	// A group of its own: what the program has started ends with it.
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if p.in, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("start the card's program: %w", err)
	}
	go p.read(out)
	if _, err := p.ask("connect", nil); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to the card: %w", err), p.end())
	}
	return &channelled{way: p}, nil
}

func (p *program) read(out io.Reader) {
	defer close(p.lines)
	scanner := bufio.NewScanner(out)
	scanner.Buffer(make([]byte, 0, 4096), maxLine)
	for scanner.Scan() {
		p.lines <- append([]byte(nil), scanner.Bytes()...)
	}
}

// ask makes one request and waits for its answer.
func (p *program) ask(function string, param *string) (stdioPayload, error) {
	if p.broken != nil {
		return stdioPayload{}, p.broken
	}
	// The protocol writes a parameter that is missing as null.
	request, err := json.Marshal(map[string]any{"type": "apdu", "payload": map[string]any{"func": function, "param": param}})
	if err != nil {
		return stdioPayload{}, err
	}
	answer, err := p.exchange(append(request, '\n'))
	if err != nil {
		p.broken = fmt.Errorf("%s: %w", p.name, err)
		return stdioPayload{}, p.broken
	}
	if *answer.Code < 0 {
		return answer, &refusal{fmt.Sprintf("%s refused %s with %d", p.name, function, *answer.Code)}
	}
	return answer, nil
}

func (p *program) exchange(request []byte) (stdioPayload, error) {
	timeout := time.NewTimer(apduTime)
	defer timeout.Stop()
	wrote := make(chan error, 1)
	go func() {
		_, err := p.in.Write(request)
		wrote <- err
	}()
	for {
		select {
		case err := <-wrote:
			if errors.Is(err, syscall.EPIPE) {
				return stdioPayload{}, errEnded
			}
			if err != nil {
				return stdioPayload{}, err
			}
			wrote = nil
		case line, ok := <-p.lines:
			if !ok {
				return stdioPayload{}, errEnded
			}
			answer, ours, err := parseAnswer(line)
			if err != nil || ours {
				return answer, err
			}
		case <-timeout.C:
			return stdioPayload{}, fmt.Errorf("no answer within %s", apduTime)
		}
	}
}

// parseAnswer reads a line; those of other types are not ours.
func parseAnswer(line []byte) (stdioPayload, bool, error) {
	var l stdioLine
	if err := json.Unmarshal(line, &l); err != nil || l.Type != "apdu" {
		return stdioPayload{}, false, nil
	}
	if l.Payload.Code == nil {
		return stdioPayload{}, true, errors.New("the answer has no ecode")
	}
	return l.Payload, true, nil
}

func (p *program) open(aid []byte) (int, error) {
	answer, err := p.ask("logic_channel_open", new(hex.EncodeToString(aid)))
	if err != nil {
		return 0, err
	}
	if *answer.Code == 0 || *answer.Code > maxOpen {
		return 0, fmt.Errorf("%s opened channel %d; a card has 1 to %d", p.name, *answer.Code, maxOpen)
	}
	return *answer.Code, nil
}

func (p *program) close(channel int) error {
	_, err := p.ask("logic_channel_close", new(fmt.Sprintf("%02x", channel)))
	return err
}

func (p *program) transmit(_ int, apdu []byte) ([]byte, error) {
	answer, err := p.ask("transmit", new(hex.EncodeToString(apdu)))
	if err != nil {
		return nil, err
	}
	response, err := hex.DecodeString(answer.Data)
	if err != nil || len(response) < 2 {
		return nil, fmt.Errorf("%s: the answer to transmit is no response APDU in hexadecimal", p.name)
	}
	return response, nil
}

func (p *program) shut() error {
	if p.broken == nil {
		_, _ = p.ask("disconnect", nil)
	}
	return p.end()
}

// end closes the program's input, which asks it to end, and kills it if it does
// not.
func (p *program) end() error {
	p.broken = errClosed
	p.in.Close()
	kill := time.AfterFunc(5*time.Second, func() { _ = syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL) })
	defer kill.Stop()
	for range p.lines {
	}
	if err := p.command.Wait(); err != nil {
		if _, exited := errors.AsType[*exec.ExitError](err); exited {
			return nil // its own business
		}
		return fmt.Errorf("end the card's program: %w", err)
	}
	return nil
}
