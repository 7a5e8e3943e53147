package rsp

// The JSON binding of ES9+, ES11 and ES12. SGP.22 v2.5, 6.5. Octets are base64
// of whole DER elements, header included; the challenge alone is bare. In Go
// they are []byte with the same content.

// ContentType and the headers of an LPA.
const (
	ContentType     = "application/json"
	ContentTypeASN1 = "application/x-gsma-rsp-asn1"
	HeaderProtocol  = "X-Admin-Protocol"
	UserAgent       = "gsma-rsp-lpad"
	Protocol        = "gsma/rsp/v2.5.0"
)

// Paths of the interfaces, each to be followed by a function name.
const (
	PathES2  = "/gsma/rsp2/es2plus/"
	PathES9  = "/gsma/rsp2/es9plus/"
	PathES11 = "/gsma/rsp2/es11/"
	PathES12 = "/gsma/rsp2/es12/"
	PathES15 = "/gsma/rsp2/es15/"
	PathASN1 = "/gsma/rsp2/asn1"
)

// Function names of ES9+, ES11 and ES12.
const (
	FnInitiateAuthentication = "initiateAuthentication"
	FnAuthenticateClient     = "authenticateClient"
	FnGetBoundProfilePackage = "getBoundProfilePackage"
	FnHandleNotification     = "handleNotification"
	FnCancelSession          = "cancelSession"
	FnRegisterEvent          = "registerEvent"
	FnDeleteEvent            = "deleteEvent"
)

// InitiateAuthenticationRequest opens a run at an SM-DP+ or SM-DS.
type InitiateAuthenticationRequest struct {
	SMDPAddress    string `json:"smdpAddress,omitempty"`
	SMDSAddress    string `json:"smdsAddress,omitempty"` // what some LPAs send to an SM-DS in its place
	EUICCChallenge []byte `json:"euiccChallenge"`
	EUICCInfo1     []byte `json:"euiccInfo1"`
}

// Address returns the address that the LPA called.
func (q *InitiateAuthenticationRequest) Address() string {
	if q.SMDPAddress == "" {
		return q.SMDSAddress
	}
	return q.SMDPAddress
}

// InitiateAuthenticationResponse is the server's proof of who it is.
type InitiateAuthenticationResponse struct {
	Header            ResponseHeader `json:"header"`
	TransactionID     TransactionID  `json:"transactionId,omitzero"`
	ServerSigned1     []byte         `json:"serverSigned1,omitempty"`
	ServerSignature1  []byte         `json:"serverSignature1,omitempty"`
	CIKeyID           []byte         `json:"euiccCiPKIdToBeUsed,omitempty"` // an OCTET STRING
	ServerCertificate []byte         `json:"serverCertificate,omitempty"`
}

// AuthenticateClientRequest is the eUICC's proof of who it is.
type AuthenticateClientRequest struct {
	TransactionID              TransactionID `json:"transactionId"`
	AuthenticateServerResponse []byte        `json:"authenticateServerResponse"`
}

// AuthenticateClientResponse offers a profile.
type AuthenticateClientResponse struct {
	Header          ResponseHeader `json:"header"`
	TransactionID   TransactionID  `json:"transactionId,omitzero"`
	ProfileMetadata []byte         `json:"profileMetadata,omitempty"`
	SMDPSigned2     []byte         `json:"smdpSigned2,omitempty"`
	SMDPSignature2  []byte         `json:"smdpSignature2,omitempty"`
	SMDPCertificate []byte         `json:"smdpCertificate,omitempty"`
}

// GetBoundProfilePackageRequest asks for the profile.
type GetBoundProfilePackageRequest struct {
	TransactionID           TransactionID `json:"transactionId"`
	PrepareDownloadResponse []byte        `json:"prepareDownloadResponse"`
}

// GetBoundProfilePackageResponse delivers it.
type GetBoundProfilePackageResponse struct {
	Header              ResponseHeader `json:"header"`
	TransactionID       TransactionID  `json:"transactionId,omitzero"`
	BoundProfilePackage []byte         `json:"boundProfilePackage,omitempty"`
}

// HandleNotificationRequest carries a notification. The answer is HTTP status
// 204 without a body.
type HandleNotificationRequest struct {
	PendingNotification []byte `json:"pendingNotification"`
}

// CancelSessionES9Request ends a run.
type CancelSessionES9Request struct {
	TransactionID         TransactionID `json:"transactionId"`
	CancelSessionResponse []byte        `json:"cancelSessionResponse"`
}

// CancelSessionES9Response acknowledges.
type CancelSessionES9Response struct {
	Header ResponseHeader `json:"header"`
}

// An EventEntry tells an LPA where something waits for its eUICC.
type EventEntry struct {
	EventID       string `json:"eventId"`
	ServerAddress string `json:"rspServerAddress"`
}

// AuthenticateClientES11Response lists what waits at an SM-DS. An empty list
// is success.
type AuthenticateClientES11Response struct {
	Header        ResponseHeader `json:"header"`
	TransactionID TransactionID  `json:"transactionId,omitzero"`
	EventEntries  []EventEntry   `json:"eventEntries"`
}

// RegisterEvent asks an SM-DS to tell an eUICC about this server.
type RegisterEvent struct {
	Header        RequestHeader `json:"header"`
	EID           string        `json:"eid"`
	ServerAddress string        `json:"rspServerAddress"`
	EventID       string        `json:"eventId"`
	Forwarding    bool          `json:"forwardingIndicator"`
}

// DeleteEvent withdraws it.
type DeleteEvent struct {
	Header  RequestHeader `json:"header"`
	EID     string        `json:"eid"`
	EventID string        `json:"eventId"`
}

// EventResponse answers both.
type EventResponse struct {
	Header ResponseHeader `json:"header"`
}
