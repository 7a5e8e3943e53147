package device

import (
	"time"

	"godwit/ident"
)

// A Device is one device in the field.
type Device struct {
	ID      ID
	Account string
	Settings
	Facts

	ConnectionStatus     string // "connected" or "disconnected"
	LastConnect          time.Time
	LastDisconnect       time.Time
	LastDisconnectReason string
	LastUpdate           time.Time // when it last said something of itself
	SeenAt               time.Time // last sign of life
	ESIMsReportedAt      time.Time // last report of one of its eSIMs
	CreatedAt            time.Time
	UpdatedAt            time.Time
}

// Settings are what people say about a device.
type Settings struct {
	Name, Description, Contact, Location, Notes string
	Group                                       string // path without a slash in front
	Tags                                        []string
	Type                                        string
	VendorID                                    *int64
	Position                                    *Position
	RestrictedStatus                            string // "unrestricted", "restricted", "disabled", "untrusted"
	MaintenanceMode                             string // "on", "off"
}

// A Position is a place on earth in degrees.
type Position struct{ Longitude, Latitude float64 }

// Facts are what a device says about itself. What is about one of two modems is
// there twice.
type Facts struct {
	FirmwareVersion, FirmwareStatus string
	MAC                             string // 00:04:F3:00:A1:B2
	SerialNumber, SKU, ProductID    string
	IP, PublicIP, Address           string
	PhoneNumber                     string
	Modems                          [2]Modem
}

// A Modem is what a device says about one of its modems.
type Modem struct {
	IMEI                  string
	ICCID                 string // of the SIM or profile that it uses now
	Carrier, Network, APN string
	SignalStrength        *int64 // dBm
	SignalPercent         *int64
	SignalQuality         *int64 // dB
}

// An ESIM is one eUICC in a device.
type ESIM struct {
	EID        ident.EID
	Device     ID
	Account    string
	Kind       string    // "iot": it speaks SGP.32; "consumer": the agent does it for the chip
	AgentKey   []byte    // SubjectPublicKeyInfo, DER
	ReportedAt time.Time // last report of its profiles
	SeenAt     time.Time
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// A Profile is one profile on an eSIM, as the device has reported it.
type Profile struct {
	ICCID             ident.ICCID
	EID               ident.EID
	Device            ID
	Account           string
	Number            int64  // within the eSIM, from 1
	Carrier           string // service provider name in the profile; may be empty
	NormalizedCarrier string
	CodeCarrier       string // of the activation code that it came with, if one is known
	Name              string
	Active            bool
	Type              string
	CreatedAt         time.Time
	UpdatedAt         time.Time
}

// Status is "active" or "inactive".
func (p Profile) Status() string {
	if p.Active {
		return active
	}
	return inactive
}

const (
	active    = "active"
	inactive  = "inactive"
	bootstrap = "bootstrap"
	test      = "test"
)

// A Code is an activation code that is registered for use. Its secret does not
// leave this package but to the eIM.
type Code struct {
	ICCID             ident.ICCID
	Account           string
	Carrier           string
	NormalizedCarrier string
	Status            CodeStatus
	Confirmation      bool // whether a confirmation code goes with it
	Device            ID   // once it is reserved or downloaded
	EID               ident.EID
	CreatedAt         time.Time
	UpdatedAt         time.Time

	tx string // the download that has it or had it
}

// A Transaction is one action on one eSIM.
type Transaction struct {
	ID          string // UUID
	Account     string
	Action      Action
	Status      TxStatus
	Device      ID
	EID         ident.EID
	ICCID       ident.ICCID // empty for a download until it is known
	MessageCode string
	Message     string
	Operation   string // UUID of the operation that it is a step of, or empty
	CreatedBy   string
	Source      string
	CreatedAt   time.Time
	UpdatedAt   time.Time

	codeICCID   ident.ICCID
	codeCarrier string
	reached     bool
	deadline    time.Time
}

// An Operation is several steps towards one end.
type Operation struct {
	ID          string // UUID
	Account     string
	Work        Work
	Status      OpStatus
	Device      ID
	EID         ident.EID
	Carrier     string
	ICCID       ident.ICCID // the one asked for, or once it is chosen
	DownloadTx  string
	EnableTx    string
	JobID       int64
	Cause       Cause
	CauseID     string
	Rollout     string // UUID of the rollout that it is part of, or empty
	RetryOf     string // UUID of the operation that it repeats, or empty
	CreatedBy   string
	Source      string
	MessageCode string
	Message     string
	CreatedAt   time.Time
	UpdatedAt   time.Time

	wanted       ident.ICCID
	stepDeadline time.Time
	deadline     time.Time
}

// A JobStatus is where a system job stands.
type JobStatus string

// The statuses of a job.
const (
	JobInProgress JobStatus = "in_progress"
	JobComplete   JobStatus = "complete"
	JobFailed     JobStatus = "failed"
	JobCanceled   JobStatus = "canceled"
)

// A Job is an operation or a rollout as the system's list of jobs has it.
type Job struct {
	ID          int64
	Account     string
	Type        string // "esim_operation", "esim_rollout"
	Subject     string // UUID of the operation or rollout
	Status      JobStatus
	Description string
	CreatedBy   string
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// A Rollout is one operation over all eSIMs of the devices that a query finds.
type Rollout struct {
	ID          string // UUID
	Account     string
	Name        string
	Status      RolloutStatus
	Work        Work
	Carrier     string
	Query       string
	Waves       []int // percent of all that have begun at the end of each, the last 100
	FailureRate int   // percent; more failures stop it
	Retries     int   // how often one eSIM's operation is repeated when it fails
	Wave        int   // from 0
	Targets     int64
	Begun       int64
	Succeeded   int64
	Failed      int64
	Message     string
	JobID       int64
	CreatedBy   string
	Source      string
	CreatedAt   time.Time
	UpdatedAt   time.Time

	askedAt  time.Time
	gathered int64
	waveEnd  int64
	forgiven int64
}

// A Rule has operations begin by themselves: an automation when something
// happens to a device, a template wherever a device of its group lacks what it
// demands.
type Rule struct {
	ID        string // UUID
	Account   string
	Cause     Cause // CauseAutomation or CauseTemplate
	Name      string
	Enabled   bool
	OnFirst   bool   // automations: a device's eSIM reports for the first time
	OnLost    bool   // automations: an eSIM reports without the profile that it had
	Group     string // templates: devices of this group and those below; empty: all
	Type      string // of devices; empty: any
	Work      Work
	Carrier   string
	CreatedBy string
	CreatedAt time.Time
	UpdatedAt time.Time

	scanned int64
	scanAt  time.Time
}
