-- +goose Up

-- A secret that all nodes share: transaction identifiers and challenges of
-- ES9+ are derived under it. Sealed under the master key.
create table smdp_key (
    name       text   primary key,
    sealed     bytea  not null,
    created_at bigint not null
);

-- Who may order profiles over ES2+. A client certificate is known by the
-- SHA-256 of its public key (key_pin), or by a name in it (cert_name) when an
-- authority of the listener issued it.
create table operator (
    id            text    primary key,
    name          text    not null,
    requester     text    not null,
    key_pin       text,
    cert_name     text,
    profile_types text    not null, -- JSON array of ids; "*" in it means every type
    progress_url  text    not null default '',
    created_at    bigint  not null
);
create unique index operator_requester on operator (requester);
create unique index operator_key_pin on operator (key_pin) where key_pin is not null;
create unique index operator_cert_name on operator (cert_name) where cert_name is not null;

-- A profile type never changes: profiles that were ordered from it must come
-- out the same on a retry. A new version is a new type.
create table profile_type (
    id         text   primary key,
    name       text   not null,
    template   bytea  not null, -- SAIP package, DER
    metadata   text   not null, -- JSON
    defaults   bytea  not null, -- personal data that all profiles of the type share: sealed JSON
    protection text   not null check (protection in ('session', 'ppk')),
    created_at bigint not null
);

-- One load of stock of one type. Its profiles can be ordered once visible is
-- set, which is one flip at the end of the load; beat_at moves while it loads.
create table stock_batch (
    id           text    primary key,
    load_id      text    not null, -- one load may hold several types
    profile_type text    not null,
    visible      boolean not null,
    source       text    not null,
    beat_at      bigint  not null,
    created_at   bigint  not null
);
create index stock_batch_type on stock_batch (profile_type, id) where visible;
create index stock_batch_load on stock_batch (load_id);

-- One profile: stock, then an order, then what became of it.
create table profile (
    iccid             text   primary key,
    state             text   not null check (state in ('available', 'allocated', 'linked', 'confirmed',
                                                       'released', 'downloaded', 'installed', 'error', 'unavailable')),
    profile_type      text   not null,
    batch             text   not null,
    owner             text   not null default '', -- operator whose stock it is; '' is anybody's
    imsi              text   not null,
    msisdn            text   not null default '',
    secrets           bytea  not null,            -- K, OPc, PINs ..: sealed

    operator          text   not null default '', -- who ordered it
    ordered_at        bigint not null default 0,
    eid               text   not null default '', -- of the order, or of the eUICC it was delivered to
    matching_id       text,                       -- null until confirmed; '' when confirmed without one
    code_hash         bytea,                      -- sealed SHA-256 of the confirmation code
    smds_address      text   not null default '',
    expires_at        bigint not null default 0,  -- 0: the order does not expire
    download_attempts bigint not null default 0,
    code_attempts     bigint not null default 0,

    generation        bigint not null default 0,  -- grows whenever runs that are open lose their claim
    run               text   not null default '', -- transaction that was delivered last
    bind_key          bytea,                      -- the eUICC's one-time key it was bound to, with its curve and CI
    bind_secret       bytea,                      -- our one-time key and the protection keys: sealed
    failure           text   not null default '', -- subject/reason of the Error state
    updated_at        bigint not null default 0
);
create unique index profile_matching_id on profile (matching_id) where matching_id <> '';
create index profile_eid on profile (eid, ordered_at) where eid <> '';
create index profile_stock on profile (profile_type, batch, iccid) where state = 'available';
create index profile_batch on profile (batch);

-- One authenticated download. Nothing is stored before an eUICC has proved
-- who it is.
create table run (
    issued_at      bigint not null,               -- the second that the transaction identifier carries, enciphered
    transaction_id text   not null,               -- upper-case hexadecimal
    state          text   not null check (state in ('authenticated', 'delivered', 'closed')),
    iccid          text   not null,
    eid            text   not null,
    generation     bigint not null,               -- of the profile when the run began
    ci             text   not null,               -- subject key identifier of the CI, hexadecimal
    euicc_key      bytea  not null,               -- curve and public key of the eUICC certificate
    signature2     bytea  not null,               -- smdpSignature2, under the eUICC's next signature
    otpk           bytea,                         -- the eUICC's one-time key that was delivered to
    created_at     bigint not null,
    expires_at     bigint not null,
    primary key (issued_at, transaction_id)       -- new runs stand together at the end
);

-- What eUICCs said about profiles, with their signature over it. Numbers alone
-- do not tell notifications apart: a test eUICC that is made anew with its old
-- EID counts from the beginning.
create table notification (
    eid            text   not null,
    seq            bigint not null,
    event          text   not null,
    iccid          text   not null,
    transaction_id text   not null default '',
    result         text   not null default '',
    evidence       bytea  not null,
    received_at    bigint not null,
    primary key (eid, seq, event, iccid, transaction_id)
);

-- Messages that must still go out: progress towards operators, and the
-- deletion of events at an SM-DS. Written in the transaction of what they tell.
create table outbox (
    id         text   not null, -- grows with time
    kind       text   not null check (kind in ('progress', 'smds-delete')),
    receiver   text   not null,    -- operator id, or SM-DS address
    payload    text   not null,    -- JSON
    due_at     bigint not null,
    attempts   bigint not null default 0,
    last_error text   not null default '',
    created_at bigint not null,
    primary key (due_at, id)    -- the one order in which it is read
);

-- Answers of ES2+ by call identifier: a repeated call is answered alike.
create table es2_call (
    requester  text   not null,
    call_id    text   not null,
    function   text   not null,
    digest     bytea  not null, -- of the request, without its header
    answer     text   not null, -- JSON
    created_at bigint not null,
    primary key (requester, call_id)
);
create index es2_call_created on es2_call (created_at);

-- +goose Down
drop table es2_call;
drop table outbox;
drop table notification;
drop table run;
drop table profile;
drop table stock_batch;
drop table profile_type;
drop table operator;
drop table smdp_key;
