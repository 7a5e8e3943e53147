// Every operation with the unmodified twilio-node. SERVED names what the server
// serves; the rest is left out.
"use strict";
const twilio = require("twilio");
const RequestClient = require("twilio/lib/base/RequestClient");

const { BASE_URL, ACCOUNT_SID, AUTH_TOKEN, SERVED } = process.env;
const served = new Set(SERVED.split(" "));

// The client knows only the vendor's host: requests are sent to ours.
class Detour extends RequestClient {
  request(options) {
    return super.request({ ...options, uri: options.uri.replace("https://supersim.twilio.com", BASE_URL) });
  }
}

const client = (user, password) => twilio(user, password, { httpClient: new Detour() }).supersim.v1;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const check = (truth, what) => {
  if (!truth) throw new Error(what);
};

async function until(what, ask, good) {
  for (let i = 0; i < 300; i++) {
    const found = await ask();
    if (good(found)) return found;
    await pause(100);
  }
  throw new Error(`${what} did not come in 30 seconds`);
}

async function refused(what, promise, status, code) {
  try {
    await promise;
  } catch (e) {
    check(e.status === status && e.code === code && e.moreInfo, `${what}: ${e.status} ${e.code} ${e.message}`);
    return;
  }
  throw new Error(`${what} was not refused`);
}

async function main() {
  const api = client(ACCOUNT_SID, AUTH_TOKEN);
  const name = (s) => `node ${s}`;
  const networks = await api.networks.list({ isoCountry: "us", limit: 3 });
  check(networks.length === 3 && networks[0].identifiers.length > 0, "networks");
  await api.networks(networks[0].sid).fetch();
  const nap = await api.networkAccessProfiles.create({ uniqueName: name("nap"), networks: [networks[0].sid, networks[1].sid] });
  check((await api.networkAccessProfiles(name("nap")).fetch()).sid === nap.sid, "access profile by name");
  await api.networkAccessProfiles(nap.sid).update({ uniqueName: name("access") });
  check((await api.networkAccessProfiles.list()).length > 0, "access profiles");
  const members = api.networkAccessProfiles(nap.sid).networks;
  check((await members.list()).length === 2, "members");
  await members(networks[0].sid).fetch();
  check((await members(networks[0].sid).remove()) === true, "remove");
  await refused("removed member", members(networks[0].sid).fetch(), 404, 20404);
  await members.create({ network: networks[2].sid });

  const fleet = await api.fleets.create({ networkAccessProfile: nap.sid, uniqueName: name("fleet"), dataLimit: 10 });
  check((await api.fleets(name("fleet")).fetch()).sid === fleet.sid && fleet.dataLimit === 10, "fleet");
  check((await api.fleets(fleet.sid).update({ dataLimit: 20 })).dataLimit === 20, "update of a fleet");
  check((await api.fleets.list({ networkAccessProfile: nap.sid })).length === 1, "fleets");

  const fresh = await api.esimProfiles.create({ generateMatchingId: true });
  check(fresh.status === "new" && fresh.activationCode === null && fresh.dateCreated instanceof Date, "reservation");
  const ready = await until("available", () => api.esimProfiles(fresh.sid).fetch(), (p) => p.status === "available");
  check(ready.activationCode === `1$${ready.smdpPlusAddress}$${ready.matchingId}`, "activation code");
  check((await api.esimProfiles.list({ simSid: ready.simSid })).length === 1, "reservations");

  check((await api.sims.list({ iccid: ready.iccid }))[0].sid === ready.simSid, "sims");
  await api.sims(ready.simSid).update({ uniqueName: name("sim") });
  const later = await api.sims(ready.simSid).update({ fleet: name("fleet"), status: "active" });
  check(later.status === "scheduled", "activation");
  await until("active", () => api.sims(name("sim")).fetch(), (s) => s.status === "active" && s.fleetSid === fleet.sid);
  await refused("registration", api.sims.create({ iccid: "8988307000000000000", registrationCode: "H3LL0W0RLD" }),
    served.has("CreateSim") ? 400 : 405, served.has("CreateSim") ? 83002 : 20004);

  const optional = {
    CreateSim: async () => {
      const s = await api.sims.create({ iccid: process.env.CARD_ICCID, registrationCode: process.env.CARD_CODE });
      check(s.status === "new" && s.iccid === process.env.CARD_ICCID, "registration");
    },
    ListBillingPeriod: () => api.sims(ready.simSid).billingPeriods.list(),
    ListSimIpAddress: () => api.sims(ready.simSid).simIpAddresses.list(),
    ListSettingsUpdate: () => api.settingsUpdates.list({ sim: ready.simSid }),
    ListUsageRecord: () => api.usageRecords.list({ sim: ready.simSid, granularity: "day", group: "sim" }),
    CreateSmsCommand: async () => {
      const c = await api.smsCommands.create({ sim: name("sim"), payload: "hello" });
      check(c.direction === "to_sim" && (await api.smsCommands(c.sid).fetch()).sid === c.sid, "SMS");
    },
    ListSmsCommand: async () => check((await api.smsCommands.list({ sim: ready.simSid })).length === 1, "SMS list"),
    CreateIpCommand: async () => {
      const c = await api.ipCommands.create({ sim: name("sim"), payload: "hello", devicePort: 5000 });
      check(c.direction === "to_sim" && (await api.ipCommands(c.sid).fetch()).sid === c.sid, "IP");
    },
    ListIpCommand: async () => check((await api.ipCommands.list({ sim: ready.simSid })).length === 1, "IP list"),
  };
  for (const [id, step] of Object.entries(optional)) {
    if (served.has(id)) await step();
  }

  for (let i = 0; i < 5; i++) await api.networkAccessProfiles.create({ uniqueName: name(`page ${i}`) });
  const walked = await api.networkAccessProfiles.list({ pageSize: 2 });
  check(new Set(walked.map((n) => n.sid)).size === walked.length && walked.length >= 6, "paging");

  await refused("unknown", api.sims("HS00000000000000000000000000000000").fetch(), 404, 20404);
  await refused("no EID", api.esimProfiles.create({}), 400, 20001);
  await refused("wrong token", client(ACCOUNT_SID, "0".repeat(32)).sims.list(), 401, 20003);
  await refused("name twice", api.fleets.create({ networkAccessProfile: nap.sid, uniqueName: name("fleet") }), 400, 20001);
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
