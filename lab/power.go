package lab

import (
	"errors"
	"sync"

	"godwit/euicc"
	"godwit/ipa"
)

// What a device finds when it is no longer there.
var (
	errPower   = errors.New("the power has failed")
	errCrashed = errors.New("the agent has died")
)

// A power is what keeps an agent going: each thing that it does to the world
// takes a step. When the power fails, or the agent dies, nothing that it does
// reaches the world any more.
type power struct {
	mu    sync.Mutex
	steps int
	endAt int   // the step at which it ends, 0 for never
	late  bool  // that step still takes place, but nobody hears of it
	how   error // what ends it
	gone  error
}

// begin starts a session that ends at a step, or by itself if endAt is 0.
func (p *power) begin(endAt int, late bool, how error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps, p.endAt, p.late, p.how, p.gone = 0, endAt, late, how, nil
}

// fails returns what ended the session, nil while it goes on.
func (p *power) fails() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

// step takes place or returns why it does not. It returns also whether its
// outcome is to be lost.
func (p *power) step() (lost, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone != nil {
		return nil, p.gone
	}
	p.steps++
	if p.endAt == 0 || p.steps < p.endAt {
		return nil, nil
	}
	p.gone = p.how
	if p.late {
		return p.gone, nil
	}
	return nil, p.gone
}

// A poweredCard is the way to the chip.
type poweredCard struct {
	power *power
	card  *euicc.Card
	turns chan struct{} // how many chips of the lab may be at work at a time
	heard func(answer []byte)
	open  []byte // an answer that has not ended
}

// Transmit passes a command on as long as there is power.
func (c *poweredCard) Transmit(apdu []byte) ([]byte, error) {
	lost, err := c.power.step()
	if err != nil {
		return nil, err
	}
	c.turns <- struct{}{}
	answer, err := c.card.Transmit(apdu)
	<-c.turns
	if err == nil && len(answer) >= 2 {
		c.listen(answer)
	}
	if lost != nil {
		return nil, lost
	}
	return answer, err
}

// listen hears whole answers, also those that the agent did not live to hear.
func (c *poweredCard) listen(answer []byte) {
	n := len(answer) - 2
	c.open = append(c.open, answer[:n]...)
	if answer[n] == 0x61 {
		return
	}
	if len(c.open) > 0 {
		c.heard(c.open)
	}
	c.open = c.open[:0]
}

// A poweredJournal keeps nothing once the power has failed.
type poweredJournal struct {
	power *power
	ipa.Journal
}

func (j poweredJournal) Save(document []byte) error {
	lost, err := j.power.step()
	if err != nil {
		return err
	}
	if err := j.Journal.Save(document); err != nil {
		return err
	}
	return lost
}
