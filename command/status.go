package command

import "slices"

// Status is where a command stands. The zero value is no status.
type Status string

// The statuses of commands.
const (
	Queued    Status = "queued"    // waits to be sent
	Sent      Status = "sent"      // the SMSC has it; the datagram has left
	Delivered Status = "delivered" // the SMSC's receipt says so; SMS only
	Received  Status = "received"  // from a device
	Failed    Status = "failed"
)

// A Direction says who speaks to whom.
type Direction string

// The directions.
const (
	ToSim   Direction = "to_sim"
	FromSim Direction = "from_sim"
)

// Directions lists them both.
var Directions = []Direction{ToSim, FromSim}

// Statuses of each sort of command.
var (
	SMSStatuses = []Status{Queued, Sent, Delivered, Received, Failed}
	IPStatuses  = []Status{Queued, Sent, Received, Failed}
)

// smsMoves lists the steps in the life of an SMS command. A device's message is
// born received.
var smsMoves = map[Status][]Status{
	Queued:    {Sent, Failed},
	Sent:      {Delivered, Failed},
	Delivered: nil,
	Received:  nil,
	Failed:    nil,
}

// ipMoves lists those of an IP command: nothing tells whether a datagram has
// arrived.
var ipMoves = map[Status][]Status{
	Queued:   {Sent, Failed},
	Sent:     nil,
	Received: nil,
	Failed:   nil,
}

func may(moves map[Status][]Status, from, to Status) bool { return slices.Contains(moves[from], to) }
