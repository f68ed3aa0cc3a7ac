-- The tables of one organization, run as one batch with search_path set to its new schema.
-- What must hold under concurrency is a constraint here or a lock in the code that says so.

CREATE SEQUENCE ids;  -- one for all tables: a schema is then made faster, and ids of different things never agree

CREATE TABLE users (
    id bigint PRIMARY KEY DEFAULT nextval('ids'),
    handle text NOT NULL UNIQUE,
    display_name text NOT NULL,
    bio text NOT NULL DEFAULT '',
    lat double precision,
    lon double precision,
    token_hash bytea NOT NULL UNIQUE,
    balance_cents bigint NOT NULL DEFAULT 0,
    storage_bytes bigint NOT NULL DEFAULT 65536,
    invite_credits integer NOT NULL DEFAULT 3,
    invited_by bigint REFERENCES users,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE links (
    user_id bigint NOT NULL REFERENCES users,
    network text NOT NULL,
    handle text NOT NULL,
    url text NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    id bigint NOT NULL UNIQUE DEFAULT nextval('ids'),
    PRIMARY KEY (user_id, network)
);

CREATE TABLE invites (
    code text PRIMARY KEY,
    creator_id bigint NOT NULL REFERENCES users,
    note text NOT NULL,
    expires_at timestamptz NOT NULL,
    redeemed_by bigint REFERENCES users
);

CREATE TABLE tags (
    id bigint PRIMARY KEY DEFAULT nextval('ids'),
    name text NOT NULL,
    parent_id bigint REFERENCES tags
);
CREATE UNIQUE INDEX ON tags (coalesce(parent_id, 0), name);

CREATE TABLE files (
    id bigint PRIMARY KEY DEFAULT nextval('ids'),
    owner_id bigint NOT NULL REFERENCES users,
    name text NOT NULL,
    media_type text NOT NULL,
    size integer NOT NULL,
    sha256 text NOT NULL,
    status text NOT NULL DEFAULT 'scanning',
    content bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE searchables (
    id bigint PRIMARY KEY DEFAULT nextval('ids'),
    owner_id bigint NOT NULL REFERENCES users,
    kind text NOT NULL,
    title text NOT NULL,
    description text NOT NULL,
    price_cents bigint NOT NULL,
    lat double precision,
    lon double precision,
    file_id bigint REFERENCES files,
    status text NOT NULL DEFAULT 'draft',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE search_documents (
    searchable_id bigint PRIMARY KEY REFERENCES searchables,
    document tsvector NOT NULL
);
CREATE INDEX ON search_documents USING gin (document);

CREATE TABLE searchable_tags (
    searchable_id bigint REFERENCES searchables,
    tag_id bigint REFERENCES tags,
    PRIMARY KEY (searchable_id, tag_id)
);

CREATE TABLE slots (
    id bigint PRIMARY KEY DEFAULT nextval('ids'),
    searchable_id bigint NOT NULL REFERENCES searchables,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    CHECK (starts_at < ends_at)
);

CREATE TABLE payments (
    id bigint PRIMARY KEY DEFAULT nextval('ids'),
    user_id bigint NOT NULL REFERENCES users,
    kind text NOT NULL,
    amount_cents bigint NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    detail jsonb NOT NULL,
    reference text NOT NULL,
    will_fail boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    settles_at timestamptz NOT NULL
);
CREATE INDEX ON payments (user_id);

CREATE TABLE ledger (
    id bigint PRIMARY KEY DEFAULT nextval('ids'),
    user_id bigint NOT NULL REFERENCES users,
    amount_cents bigint NOT NULL,
    balance_cents bigint NOT NULL,
    reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON ledger (user_id);

CREATE TABLE purchases (
    id bigint PRIMARY KEY DEFAULT nextval('ids'),
    searchable_id bigint NOT NULL REFERENCES searchables,
    buyer_id bigint NOT NULL REFERENCES users,
    seller_id bigint NOT NULL REFERENCES users,
    slot_id bigint REFERENCES slots,
    price_cents bigint NOT NULL,
    fee_cents bigint NOT NULL,
    status text NOT NULL,
    payment_id bigint REFERENCES payments,
    downloads integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
);
-- A buyer owns a thing once; a slot is booked once. Who failed to pay, or cancelled, is out of the way.
CREATE UNIQUE INDEX one_purchase ON purchases (searchable_id, buyer_id)
    WHERE slot_id IS NULL AND status IN ('pending', 'paid');
CREATE UNIQUE INDEX one_booking ON purchases (searchable_id, slot_id)
    WHERE slot_id IS NOT NULL AND status IN ('pending', 'paid');

CREATE TABLE ratings (
    searchable_id bigint REFERENCES searchables,
    user_id bigint REFERENCES users,
    stars integer NOT NULL,
    comment text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (searchable_id, user_id)
);

CREATE TABLE invoices (
    number integer PRIMARY KEY,
    purchase_id bigint NOT NULL UNIQUE REFERENCES purchases,
    issued_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE last_invoice (number integer NOT NULL);
INSERT INTO last_invoice VALUES (0);

CREATE TABLE invoice_notes (
    id bigint PRIMARY KEY DEFAULT nextval('ids'),
    invoice integer NOT NULL REFERENCES invoices,
    author_id bigint NOT NULL REFERENCES users,
    text text NOT NULL,
    shared boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE jobs (
    id bigint PRIMARY KEY DEFAULT nextval('ids'),
    kind text NOT NULL,
    subject_id bigint NOT NULL,
    due_at timestamptz NOT NULL
);
