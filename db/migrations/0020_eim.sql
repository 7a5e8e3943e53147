-- +goose Up

-- A key that signs eUICC packages: PKCS #8, sealed under the master key. All
-- nodes share it. eUICCs that were told an older one are served with that until
-- an updateEim has brought them to the newest.
create table eim_key (
    id         text   primary key, -- sorts by age
    eim_id     text   not null,    -- eimId of the eIM that it was made for
    sealed     bytea  not null,
    created_at bigint not null
);

-- What the eIM knows about one eUICC. counter is the last that was given out and
-- never goes back, also where the eUICC was forgotten and came again.
create table eim_euicc (
    eid               text    primary key,
    active            boolean not null,
    agent_key         bytea,            -- SubjectPublicKeyInfo; then the agent signs, not the eUICC
    signing_key       text    not null, -- eim_key.id that the eUICC was told
    token             bigint,           -- association token
    counter           bigint  not null,
    certificate       bytea,            -- of the eUICC, DER; its chain was verified
    eum_certificate   bytea,
    info1             bytea,            -- BF20
    info2             bytea,            -- BF22
    features          bigint  not null default 0, -- of the IPA, a set of bits
    contacted         boolean not null, -- the first questions were answered
    trouble           text    not null default '', -- why the last answer to them was not believed
    profiles          bytea,            -- the last signed list of profiles, as it came
    listed_at         bigint  not null default 0,
    list_due_at       bigint  not null, -- when to ask for it again
    seen_at           bigint  not null default 0,
    seen_from         text    not null default '',
    created_at        bigint  not null
);

-- What an eUICC or its IPA is to do. id is the eimTransactionId in hexadecimal.
create table eim_task (
    id         text    primary key,
    eid        text    not null,
    kind       text    not null,
    stage      text    not null check (stage in ('queued', 'sent', 'done', 'failed', 'expired', 'cancelled', 'lost')),
    urgency    bigint  not null, -- smaller goes first
    position   bigint  not null, -- then the older
    own        boolean not null, -- of the eIM itself: nobody waits for its outcome
    iccid      text    not null default '',
    spec       bytea   not null, -- sealed JSON
    attempt    bigint  not null default 0, -- packages that were made of it
    due_at     bigint  not null, -- not sent before
    until_at   bigint  not null, -- given up then
    reason     text    not null default '',
    message    text    not null default '',
    created_at bigint  not null,
    sent_at    bigint  not null default 0,
    ended_at   bigint  not null default 0
);
create index eim_task_queue on eim_task (eid, urgency, position) where stage = 'queued';
create index eim_task_until on eim_task (until_at) where stage in ('queued', 'sent');
create index eim_task_ended on eim_task (ended_at) where ended_at > 0;

-- The one package under way to an eUICC, with the octets that go out again until
-- an answer comes. phase is 'ask' once the eUICC said that it has executed it
-- and its result is asked for.
create table eim_package (
    eid     text   primary key,
    task    text   not null,
    phase   text   not null check (phase in ('send', 'ask')),
    counter bigint not null, -- 0 where the package has none
    octets  bytea  not null,
    address text   not null, -- of a download: the SM-DP+ of its activation code, in small letters
    reason  text   not null default '', -- of a download through the eIM: the last refusal of the SM-DP+
    message text   not null default '',
    sent_at bigint not null
);
create unique index eim_package_task on eim_package (task);
create index eim_package_address on eim_package (address) where address <> '';

-- What came back, as it came, and whether it was believed.
create table eim_result (
    id          text   primary key, -- sorts by time
    eid         text   not null,
    digest      bytea  not null,    -- SHA-256 of evidence
    task        text   not null,
    kind        text   not null,    -- what evidence is
    witness     text   not null,    -- eUICC, agent or IPA
    verdict     text   not null check (verdict in ('accepted', 'late', 'refused')),
    why         text   not null,
    evidence    bytea  not null,
    received_at bigint not null
);
create unique index eim_result_digest on eim_result (eid, digest);
create index eim_result_task on eim_result (task);
create index eim_result_received on eim_result (received_at);

-- One indirect download: the SM-DP+'s transaction and whose it is.
create table eim_session (
    id         text   primary key, -- transactionId in hexadecimal
    address    text   not null,    -- of the SM-DP+
    task       text   not null,    -- '' until the eUICC has shown its certificate, where the IPA did not say
    eid        text   not null,
    -- What IPAs that minimise bytes leave out of their messages.
    signed1    bytea  not null,    -- serverSigned1
    oid        text   not null,    -- of the SM-DP+
    iccid      text   not null default '',
    bound_key  bytea,              -- bppEuiccOtpk
    hashed     bytea,              -- hashCc that the IPA was given
    created_at bigint not null
);
create index eim_session_created on eim_session (created_at);
