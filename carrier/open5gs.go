package carrier

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"godwit/fault"
	"godwit/saip"
)

// An Open5GS is a 4G and 5G core whose subscribers are documents in a MongoDB.
// HSS and UDR read them for every request, so that a change counts at once.
//
// A subscriber that may not attach has no document: both then answer that its
// IMSI is unknown. One without data has no session that it could open. Its
// sequence number goes with the document; after the next activation the USIM
// asks for resynchronisation, once (TS 33.102, 6.3.5). Networks stay with the
// core's own roaming rules, since a document has no place for them.
type Open5GS struct {
	client      *mongo.Client
	subscribers *mongo.Collection
	address     string // without the password
	slice       slice
}

// slice is what a subscriber with data may open.
type slice struct {
	sst int32
	sd  string // 6 hexadecimal digits, "" for none
	apn string
}

// What a document of a new subscriber says where Godwit has no opinion.
const (
	restrictNon3GPP       = 32         // handover to non-3GPP access not allowed
	rauTAUTimer           = 12         // minutes
	gigabits        int32 = 3          // unit of the bit rate
	packetOnly      int32 = 2          // network access mode
	withCircuit     int32 = 0          // with circuit-switched services, which short messages come by
	bothIP          int32 = 3          // session type IPv4v6
	bestEffort      int32 = 9          // 5QI and QCI
	openAMF               = "8000"     // separation bit: TS 33.102, annex H
	openDatabase          = "open5gs"  // where the address names none
	openSession           = "internet" // APN and DNN where the address names none
)

// NewOpen5GS returns the Open5GS whose MongoDB is at an address such as
// open5gs+mongodb://HOST/open5gs?apn=internet&sst=1&sd=000001. All options but
// those three are MongoDB's own. It connects when it is first asked.
func NewOpen5GS(address string) (*Open5GS, error) {
	u, err := url.Parse(strings.TrimPrefix(address, "open5gs+"))
	if err != nil {
		return nil, fmt.Errorf("the address of the Open5GS database cannot be read: %w", errors.Unwrap(err))
	}
	s := slice{sst: 1, apn: openSession}
	query := u.Query()
	if v := query.Get("apn"); v != "" {
		s.apn = v
	}
	if v := query.Get("sst"); v != "" {
		n, err := strconv.ParseUint(v, 10, 8)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("sst in the address of the Open5GS database is a number from 1 to 255, not %q", v)
		}
		s.sst = int32(n)
	}
	if s.sd = query.Get("sd"); s.sd != "" {
		if b, err := hex.DecodeString(s.sd); err != nil || len(b) != 3 {
			return nil, fmt.Errorf("sd in the address of the Open5GS database is 6 hexadecimal digits, not %q", s.sd)
		}
	}
	for _, own := range []string{"apn", "sst", "sd"} {
		query.Del(own)
	}
	u.RawQuery = query.Encode()
	name := strings.Trim(u.Path, "/")
	if name == "" {
		name = openDatabase
		u.Path = "/"
	}
	client, err := mongo.Connect(options.Client().ApplyURI(u.String()).SetAppName("godwit").
		SetServerSelectionTimeout(neighbourPatience).SetTimeout(2 * neighbourPatience))
	if err != nil {
		return nil, fmt.Errorf("the address of the Open5GS database %s is not one of a MongoDB: %w", u.Redacted(), err)
	}
	return &Open5GS{
		client: client, subscribers: client.Database(name).Collection("subscribers"),
		address: u.Host, slice: s,
	}, nil
}

// Close ends the connections.
func (o *Open5GS) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return o.client.Disconnect(ctx)
}

// openSubscriber is what of a document is compared.
type openSubscriber struct {
	MSISDN   []string     `bson:"msisdn"`
	Security openSecurity `bson:"security"`
	Status   int32        `bson:"subscriber_status"`
	Access   int32        `bson:"network_access_mode"`
	Slices   []openSlice  `bson:"slice"`
}

type openSecurity struct {
	K   string  `bson:"k"`
	OPc string  `bson:"opc"`
	OP  *string `bson:"op"`
	AMF string  `bson:"amf"`
	SQN int64   `bson:"sqn"`
}

type openSlice struct {
	SST      int32     `bson:"sst"`
	SD       string    `bson:"sd,omitempty"`
	Default  bool      `bson:"default_indicator"`
	Sessions []openPDN `bson:"session"`
}

type openPDN struct {
	Name string   `bson:"name"`
	Type int32    `bson:"type"`
	QoS  openQoS  `bson:"qos"`
	AMBR openAMBR `bson:"ambr"`
	PCC  bson.A   `bson:"pcc_rule"`
}

type openQoS struct {
	Index int32   `bson:"index"`
	ARP   openARP `bson:"arp"`
}

type openARP struct {
	Priority      int32 `bson:"priority_level"`
	Capability    int32 `bson:"pre_emption_capability"`
	Vulnerability int32 `bson:"pre_emption_vulnerability"`
}

type openAMBR struct {
	Down openRate `bson:"downlink"`
	Up   openRate `bson:"uplink"`
}

type openRate struct {
	Value int32 `bson:"value"`
	Unit  int32 `bson:"unit"`
}

var anyRate = openAMBR{Down: openRate{1, gigabits}, Up: openRate{1, gigabits}}

// wanted returns what a subscriber's document is to say.
func (o *Open5GS) wanted(s Subscriber) openSubscriber {
	want := openSubscriber{
		Security: openSecurity{K: hex.EncodeToString(s.K), OPc: hex.EncodeToString(s.OPc), AMF: openAMF},
		MSISDN:   []string{},
		Access:   packetOnly,
		// HSS and UDR give a subscriber without any slice an error, not an attach
		// without data; an empty slice says what is meant.
		Slices: []openSlice{{SST: o.slice.sst, SD: o.slice.sd, Default: true, Sessions: []openPDN{}}},
	}
	if number := s.digits(); number != "" {
		want.MSISDN = []string{number}
	}
	if s.SMS {
		want.Access = withCircuit
	}
	if s.Data {
		want.Slices[0].Sessions = []openPDN{{
			Name: o.slice.apn, Type: bothIP,
			QoS:  openQoS{bestEffort, openARP{Priority: 8, Capability: 1, Vulnerability: 1}},
			AMBR: anyRate, PCC: bson.A{},
		}}
	}
	return want
}

// update returns the operators that make a document say so. What they do not
// name stays the operator's; sessions that it has made in place of ours stay
// as long as data is on.
func (o *Open5GS) update(s Subscriber, is *openSubscriber) bson.M {
	want := o.wanted(s)
	set := bson.M{
		"security.k": want.Security.K, "security.opc": want.Security.OPc, "security.op": nil,
		"security.amf": want.Security.AMF, "subscriber_status": want.Status, "network_access_mode": want.Access,
	}
	if is == nil || !sameSecurity(want.Security, is.Security) {
		// New keys are a new card, whose numbers begin anew.
		set["security.sqn"] = int64(0)
	}
	if len(want.MSISDN) > 0 || is == nil {
		set["msisdn"] = want.MSISDN
	}
	if is == nil || is.data() != s.Data {
		set["slice"] = want.Slices
	}
	return bson.M{"$set": set, "$setOnInsert": bson.M{
		"schema_version": int32(1), "ambr": anyRate, "access_restriction_data": int32(restrictNon3GPP),
		"subscribed_rau_tau_timer": int32(rauTAUTimer), "operator_determined_barring": int32(0),
		"imeisv": []string{}, "mme_host": []string{}, "mme_realm": []string{}, "purge_flag": []bool{},
	}}
}

// data reports whether there is a session that the subscriber may open.
func (d *openSubscriber) data() bool {
	for _, s := range d.Slices {
		if len(s.Sessions) > 0 {
			return true
		}
	}
	return false
}

// sameSecurity compares keys and what they are used with, not the sequence
// number. Where a document has an OP, Open5GS may take that in place of OPc.
func sameSecurity(want, is openSecurity) bool {
	return strings.EqualFold(want.K, is.K) && strings.EqualFold(want.OPc, is.OPc) && (is.OP == nil || *is.OP == "") &&
		strings.EqualFold(want.AMF, is.AMF)
}

func byIMSI(s Subscriber) bson.M { return bson.M{"imsi": string(s.IMSI)} }

func (o *Open5GS) read(ctx context.Context, s Subscriber) (*openSubscriber, error) {
	var is openSubscriber
	err := o.subscribers.FindOne(ctx, byIMSI(s)).Decode(&is)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, nil
	}
	if err != nil {
		return nil, unreachable("Open5GS database", o.address, err)
	}
	return &is, nil
}

// openCheck refuses what a document cannot say.
func openCheck(s *Subscriber) error {
	if err := s.check(); err != nil {
		return err
	}
	if s.Attach && s.Algorithm != saip.Milenage {
		return fault.New(fault.Conflict, "Open5GS knows Milenage only: the profile of IMSI %s uses function set %d", s.IMSI, int(s.Algorithm))
	}
	return nil
}

// Apply makes a subscriber's document say what s says, or removes it.
func (o *Open5GS) Apply(ctx context.Context, s Subscriber) error {
	if err := openCheck(&s); err != nil {
		return err
	}
	if !s.Attach {
		if _, err := o.subscribers.DeleteMany(ctx, byIMSI(s)); err != nil {
			return unreachable("Open5GS database", o.address, err)
		}
		return nil
	}
	for attempt := 0; ; attempt++ {
		is, err := o.read(ctx, s)
		if err != nil {
			return err
		}
		if is != nil && len(o.compare(s, is)) == 0 {
			return nil
		}
		_, err = o.subscribers.UpdateOne(ctx, byIMSI(s), o.update(s, is), options.UpdateOne().SetUpsert(true))
		if mongo.IsDuplicateKeyError(err) && attempt == 0 {
			continue // another call of ours was quicker
		}
		if err != nil {
			return unreachable("Open5GS database", o.address, err)
		}
		return nil
	}
}

// Compare says in what a subscriber's document differs from s.
func (o *Open5GS) Compare(ctx context.Context, s Subscriber) ([]Difference, error) {
	if err := openCheck(&s); err != nil {
		return nil, err
	}
	is, err := o.read(ctx, s)
	switch {
	case err != nil:
		return nil, err
	case !s.Attach && is != nil:
		return servedThere, nil
	case !s.Attach:
		return nil, nil
	case is == nil:
		return unknownThere, nil
	}
	return o.compare(s, is), nil
}

func (o *Open5GS) compare(s Subscriber, is *openSubscriber) []Difference {
	want := o.wanted(s)
	var list differences
	list.keys(sameSecurity(want.Security, is.Security))
	if len(want.MSISDN) > 0 {
		list.add("msisdn", strings.Join(want.MSISDN, " "), strings.Join(is.MSISDN, " "))
	}
	list.add("subscriber_status", fmt.Sprint(want.Status), fmt.Sprint(is.Status))
	list.flag("data", s.Data, is.data())
	list.flag("sms", s.SMS, is.Access == withCircuit)
	return list
}
