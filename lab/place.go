package lab

import (
	"fmt"
	"math"
	"time"
)

// A place is where a device is, and how it hears the network there.
type place struct {
	reported time.Time
	moved    time.Time
	lat, lon float64
}

// Corners of what the devices drive about in: middle Europe.
const (
	southWest, northEast = 46.5, 54.5
	west, east           = 6.5, 14.5
)

// speed is how fast a device moves, in degrees an hour: some fifty kilometres.
const speed = 0.5

// move has the device go on its way since it moved last. It turns at the borders.
func (d *Device) move(now time.Time) {
	p := &d.place
	if p.moved.IsZero() {
		p.lat = southWest + float64(d.plan.born().draw("lat", 0)%8000)/1000
		p.lon = west + float64(d.plan.born().draw("lon", 0)%8000)/1000
		p.moved = now
	}
	way := speed * now.Sub(p.moved).Hours()
	bearing := 2 * math.Pi * float64(d.plan.draw("bearing", d.sessions/32)%360) / 360
	p.lat = fold(p.lat+way*math.Cos(bearing), southWest, northEast)
	p.lon = fold(p.lon+way*math.Sin(bearing), west, east)
	p.moved = now
}

// fold reflects x at the ends of a range.
func fold(x, least, most float64) float64 {
	switch {
	case x < least:
		return min(most, 2*least-x)
	case x > most:
		return max(least, 2*most-x)
	}
	return x
}

// Networks that devices are in, as they show them.
var networks = []string{"Test Mobil", "Nordnetz", "Alpen Telecom", "Rheinfunk"}

// facts is what the device says of itself.
func (d *Device) facts() map[string]any {
	d.move(time.Now())
	// The signal goes up and down between -60 and -110 dBm as the device moves.
	wave := math.Sin(40*d.place.lat) * math.Cos(40*d.place.lon)
	dbm := -85 + int(25*wave)
	f := map[string]any{
		"agent_version": "lab", "platform": "lab", "hostname": d.plan.Name, "imei": d.plan.IMEI,
		"firmware_version": fmt.Sprintf("1.%d.0", d.plan.born().draw("firmware", 0)%4), "serial_number": d.plan.Name,
		"product_id": "Virtual device", "ip": fmt.Sprintf("10.%d.%d.%d", d.plan.Number>>16&255, d.plan.Number>>8&255, d.plan.Number&255),
		"network": networks[int(d.place.lon)%len(networks)], "apn": "lab",
		"signal_strength": dbm, "signal_percent": min(100, max(0, 2*(dbm+110))),
		"geoposition": map[string]any{"type": "Point", "coordinates": []float64{round(d.place.lon), round(d.place.lat)}},
	}
	if d.truth.known && d.truth.enabled != "" {
		f["iccid"] = d.truth.enabled
	}
	return f
}

func round(x float64) float64 { return math.Round(x*1e5) / 1e5 }
