package sim

import "slices"

// ProfileStatus is where a reservation stands. The zero value is no status.
type ProfileStatus string

// The life of a reservation. SGP.22's own states live in the SM-DP+; these are
// what its progress reports let a customer know.
const (
	ProfileNew        ProfileStatus = "new"
	ProfileReserving  ProfileStatus = "reserving"  // stock is being taken and ordered at the SM-DP+
	ProfileAvailable  ProfileStatus = "available"  // released: the Sim exists, an LPA may download
	ProfileDownloaded ProfileStatus = "downloaded" // handed to one eUICC
	ProfileInstalled  ProfileStatus = "installed"  // the eUICC's signed notification says so
	ProfileFailed     ProfileStatus = "failed"
)

// ProfileStatuses lists the statuses in the order of a life.
var ProfileStatuses = []ProfileStatus{
	ProfileNew, ProfileReserving, ProfileAvailable, ProfileDownloaded, ProfileInstalled, ProfileFailed,
}

// profileMoves lists the steps of a reservation's life. Every one is the
// server's: no request of a client changes a reservation. Downloaded may be
// skipped, since progress reports may overtake each other.
var profileMoves = map[ProfileStatus][]ProfileStatus{
	ProfileNew:        {ProfileReserving},
	ProfileReserving:  {ProfileAvailable, ProfileFailed},
	ProfileAvailable:  {ProfileDownloaded, ProfileInstalled, ProfileFailed},
	ProfileDownloaded: {ProfileInstalled, ProfileFailed},
	ProfileInstalled:  nil,
	ProfileFailed:     nil,
}

// CanBecome reports whether a reservation in s may go on to t.
func (s ProfileStatus) CanBecome(t ProfileStatus) bool { return slices.Contains(profileMoves[s], t) }

// Final reports whether nothing follows s.
func (s ProfileStatus) Final() bool { return s == ProfileInstalled || s == ProfileFailed }

// Status is where a Sim stands. The zero value is no status.
type Status string

// The statuses of a Sim.
const (
	New       Status = "new"
	Ready     Status = "ready" // may attach; becomes active by itself when used
	Active    Status = "active"
	Inactive  Status = "inactive"
	Scheduled Status = "scheduled" // on its way to the status last asked for
)

// Statuses lists the statuses of a Sim.
var Statuses = []Status{New, Ready, Active, Inactive, Scheduled}

// A Way says how a move is made.
type Way int

// The ways. The zero value is no way: the move is not allowed.
const (
	Never   Way = iota
	AtOnce      // done when the request is answered
	Through     // by way of scheduled: the core network is told first
)

// moves lists what a customer may ask for from each status, and how it comes
// about. Nothing may be asked of a Sim that is scheduled, and ready is reached
// from new alone. A wish for the present status is no move.
var moves = map[Status]map[Status]Way{
	New:       {Ready: Through, Active: Through},
	Ready:     {Active: AtOnce, Inactive: Through},
	Active:    {Inactive: Through},
	Inactive:  {Active: Through},
	Scheduled: {},
}

// fleetMoves lists how a Sim in each status changes its Fleet.
var fleetMoves = map[Status]Way{
	New: AtOnce, Inactive: AtOnce,
	Ready: Through, Active: Through,
	Scheduled: Never,
}

// Way returns how a Sim in s becomes t.
func (s Status) Way(t Status) Way { return moves[s][t] }

// FleetWay returns how a Sim in s changes its Fleet.
func (s Status) FleetWay() Way { return fleetMoves[s] }

// Attaches reports whether the core network serves a Sim in s. It needs a
// Fleet to be there.
func (s Status) Attaches() bool { return s == Ready || s == Active }
