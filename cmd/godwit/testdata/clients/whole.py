"""Every operation with the unmodified twilio library. SERVED names what the
server serves; the rest is left out."""

import os
import time

from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

BASE_URL, ACCOUNT_SID, AUTH_TOKEN = (os.environ[n] for n in ("BASE_URL", "ACCOUNT_SID", "AUTH_TOKEN"))
SERVED = set(os.environ["SERVED"].split())


class Detour(TwilioHttpClient):
    """The library knows only the vendor's host: requests are sent to ours."""

    def request(self, method, url, *args, **more):
        return super().request(method, url.replace("https://supersim.twilio.com", BASE_URL), *args, **more)


def client(user, password):
    return Client(user, password, http_client=Detour()).supersim.v1


def until(what, ask, good):
    for _ in range(300):
        found = ask()
        if good(found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come in 30 seconds")


def refused(what, step, status, code):
    try:
        step()
    except TwilioRestException as e:
        assert (e.status, e.code) == (status, code), f"{what}: {e.status} {e.code} {e.msg}"
        return
    raise AssertionError(f"{what} was not refused")


def name(s):
    return f"python {s}"


api = client(ACCOUNT_SID, AUTH_TOKEN)
networks = api.networks.list(iso_country="us", limit=3)
assert len(networks) == 3 and networks[0].identifiers
api.networks(networks[0].sid).fetch()
nap = api.network_access_profiles.create(unique_name=name("nap"), networks=[networks[0].sid, networks[1].sid])
assert api.network_access_profiles(name("nap")).fetch().sid == nap.sid
api.network_access_profiles(nap.sid).update(unique_name=name("access"))
assert api.network_access_profiles.list()
members = api.network_access_profiles(nap.sid).networks
assert len(members.list()) == 2
members(networks[0].sid).fetch()
assert members(networks[0].sid).delete()
refused("removed member", members(networks[0].sid).fetch, 404, 20404)
members.create(network=networks[2].sid)

fleet = api.fleets.create(network_access_profile=nap.sid, unique_name=name("fleet"), data_limit=10)
assert api.fleets(name("fleet")).fetch().sid == fleet.sid and fleet.data_limit == 10
assert api.fleets(fleet.sid).update(data_limit=20).data_limit == 20
assert len(api.fleets.list(network_access_profile=nap.sid)) == 1

fresh = api.esim_profiles.create(generate_matching_id=True)
assert fresh.status == "new" and fresh.activation_code is None and fresh.date_created
ready = until("available", api.esim_profiles(fresh.sid).fetch, lambda p: p.status == "available")
assert ready.activation_code == f"1${ready.smdp_plus_address}${ready.matching_id}"
assert len(api.esim_profiles.list(sim_sid=ready.sim_sid)) == 1

assert api.sims.list(iccid=ready.iccid)[0].sid == ready.sim_sid
api.sims(ready.sim_sid).update(unique_name=name("sim"))
assert api.sims(ready.sim_sid).update(fleet=name("fleet"), status="active").status == "scheduled"
until("active", api.sims(name("sim")).fetch, lambda s: s.status == "active" and s.fleet_sid == fleet.sid)
refused(
    "registration",
    lambda: api.sims.create(iccid="8988307000000000000", registration_code="H3LL0W0RLD"),
    *((400, 83002) if "CreateSim" in SERVED else (405, 20004)),
)


def sms():
    c = api.sms_commands.create(sim=name("sim"), payload="hello")
    assert c.direction == "to_sim" and api.sms_commands(c.sid).fetch().sid == c.sid


def ip():
    c = api.ip_commands.create(sim=name("sim"), payload="hello", device_port=5000)
    assert c.direction == "to_sim" and api.ip_commands(c.sid).fetch().sid == c.sid


def register():
    s = api.sims.create(iccid=os.environ["CARD_ICCID"], registration_code=os.environ["CARD_CODE"])
    assert s.status == "new" and s.iccid == os.environ["CARD_ICCID"]


for operation, step in {
    "CreateSim": register,
    "ListBillingPeriod": lambda: api.sims(ready.sim_sid).billing_periods.list(),
    "ListSimIpAddress": lambda: api.sims(ready.sim_sid).sim_ip_addresses.list(),
    "ListSettingsUpdate": lambda: api.settings_updates.list(sim=ready.sim_sid),
    "ListUsageRecord": lambda: api.usage_records.list(sim=ready.sim_sid, granularity="day", group="sim"),
    "CreateSmsCommand": sms,
    "ListSmsCommand": lambda: api.sms_commands.list(sim=ready.sim_sid),
    "CreateIpCommand": ip,
    "ListIpCommand": lambda: api.ip_commands.list(sim=ready.sim_sid),
}.items():
    if operation in SERVED:
        step()

for i in range(5):
    api.network_access_profiles.create(unique_name=name(f"page {i}"))
walked = [n.sid for n in api.network_access_profiles.list(page_size=2)]
assert len(set(walked)) == len(walked) >= 6

refused("unknown", api.sims("HS00000000000000000000000000000000").fetch, 404, 20404)
refused("no EID", api.esim_profiles.create, 400, 20001)
# A list that is refused is reported without its code by this library.
refused("wrong token", client(ACCOUNT_SID, "0" * 32).sims(ready.sim_sid).fetch, 401, 20003)
refused("name twice", lambda: api.fleets.create(network_access_profile=nap.sid, unique_name=name("fleet")), 400, 20001)
