package device

import (
	"context"

	"godwit/query"
)

// texts are the values of an enumeration.
func texts[T ~string](all []T) []string {
	list := make([]string, len(all))
	for i, v := range all {
		list[i] = string(v)
	}
	return list
}

var txTable = table[Transaction]{
	name: "transaction", selects: selectTx, is: "t.tx = lower($1)", account: "t.account_sid", scan: scanTx,
	place: func(x Transaction) int64 { return micros(x.CreatedAt) },
}

// TransactionSchema is the fields by which transactions are listed.
var TransactionSchema = &query.Schema{
	Key: "created",
	Fields: []query.Field{
		{Name: "transaction", Kind: query.Text, SQL: "t.tx", Folded: "t.tx"},
		{Name: "action", Kind: query.Enum, SQL: "t.action", Values: texts(Actions)},
		{Name: "status", Kind: query.Enum, SQL: "t.status", Values: texts(TxStatuses)},
		{Name: "device_id", Kind: query.Text, SQL: "t.device_id", Upper: true},
		{Name: "eid", Kind: query.Text, SQL: "t.eid", Folded: "t.eid"},
		{Name: "iccid", Kind: query.Text, SQL: "t.iccid", Folded: "t.iccid"},
		{Name: "message_code", Kind: query.Text, SQL: "t.message_code", Folded: "t.message_code"},
		{Name: "message", Kind: query.Text, SQL: "t.message"},
		{Name: "operation_id", Kind: query.Text, SQL: "t.operation", Folded: "t.operation"},
		{Name: "created_by", Kind: query.Text, SQL: "t.created_by"},
		{Name: "source", Kind: query.Text, SQL: "t.source"},
		{Name: "created", Kind: query.Time, SQL: "t.created_at"},
		{Name: "updated", Kind: query.Time, SQL: "t.updated_at"},
	},
}

// TransactionsPage returns a page of an account's transactions, by
// [TransactionSchema].
func (s *Store) TransactionsPage(ctx context.Context, account string, spec query.Spec) (query.Page[Transaction], error) {
	return txTable.page(ctx, s.DB, account, spec)
}

var opTable = table[Operation]{
	name: "operation", selects: selectOp, is: "o.id = lower($1)", account: "o.account_sid", scan: scanOp,
	place: func(x Operation) int64 { return micros(x.CreatedAt) },
}

// OperationSchema is the fields by which operations are listed.
var OperationSchema = &query.Schema{
	Key: "created",
	Fields: []query.Field{
		{Name: "id", Kind: query.Text, SQL: "o.id", Folded: "o.id"},
		{Name: "operation", Kind: query.Enum, SQL: "o.operation", Values: texts(Works)},
		{Name: "status", Kind: query.Enum, SQL: "o.status", Values: texts(OpStatuses)},
		{Name: "device_id", Kind: query.Text, SQL: "o.device_id", Upper: true},
		{Name: "eid", Kind: query.Text, SQL: "o.eid", Folded: "o.eid"},
		{Name: "carrier", Kind: query.Text, SQL: "o.carrier", Folded: "o.carrier_folded"},
		{Name: "iccid", Kind: query.Text, SQL: "o.iccid", Folded: "o.iccid"},
		{Name: "download_tx", Kind: query.Text, SQL: "o.download_tx", Folded: "o.download_tx"},
		{Name: "enable_tx", Kind: query.Text, SQL: "o.enable_tx", Folded: "o.enable_tx"},
		{Name: "job_id", Kind: query.Number, SQL: "o.job_id"},
		{Name: "cause", Kind: query.Enum, SQL: "o.cause", Values: texts(Causes)},
		{Name: "cause_id", Kind: query.Text, SQL: "o.cause_id", Folded: "o.cause_id"},
		{Name: "rollout", Kind: query.Text, SQL: "o.rollout", Folded: "o.rollout"},
		{Name: "retry_of", Kind: query.Text, SQL: "o.retry_of", Folded: "o.retry_of"},
		{Name: "created_by", Kind: query.Text, SQL: "o.created_by"},
		{Name: "source", Kind: query.Text, SQL: "o.source"},
		{Name: "message_code", Kind: query.Text, SQL: "o.message_code", Folded: "o.message_code"},
		{Name: "message", Kind: query.Text, SQL: "o.message"},
		{Name: "created", Kind: query.Time, SQL: "o.created_at"},
		{Name: "updated", Kind: query.Time, SQL: "o.updated_at"},
	},
}

// OperationsPage returns a page of an account's operations, by
// [OperationSchema].
func (s *Store) OperationsPage(ctx context.Context, account string, spec query.Spec) (query.Page[Operation], error) {
	return opTable.page(ctx, s.DB, account, spec)
}

var jobTable = table[Job]{
	name: "job", selects: selectJob, is: "j.job_id = $1", account: "j.account_sid", scan: scanJob,
	place: func(x Job) int64 { return micros(x.CreatedAt) },
}

// JobSchema is the fields by which jobs are listed.
var JobSchema = &query.Schema{
	Key: "job_submit_time",
	Fields: []query.Field{
		{Name: "job_id", Kind: query.Number, SQL: "j.job_id"},
		{Name: "job_type", Kind: query.Enum, SQL: "j.type", Values: []string{JobOperation, JobRollout}},
		{Name: "job_status", Kind: query.Enum, SQL: "j.status", Values: texts([]JobStatus{JobInProgress, JobComplete, JobFailed, JobCanceled})},
		{Name: "description", Kind: query.Text, SQL: "j.description"},
		{Name: "created_by", Kind: query.Text, SQL: "j.created_by"},
		{Name: "job_submit_time", Kind: query.Time, SQL: "j.created_at"},
		{Name: "updated", Kind: query.Time, SQL: "j.updated_at"},
	},
}

// JobsPage returns a page of an account's jobs, by [JobSchema].
func (s *Store) JobsPage(ctx context.Context, account string, spec query.Spec) (query.Page[Job], error) {
	return jobTable.page(ctx, s.DB, account, spec)
}

var rolloutTable = table[Rollout]{
	name: "rollout", selects: selectRollout, is: "r.id = lower($1)", account: "r.account_sid", scan: scanRollout,
	place: func(x Rollout) int64 { return micros(x.CreatedAt) },
}

// RolloutSchema is the fields by which rollouts are listed.
var RolloutSchema = &query.Schema{
	Key: "created",
	Fields: []query.Field{
		{Name: "id", Kind: query.Text, SQL: "r.id", Folded: "r.id"},
		{Name: "name", Kind: query.Text, SQL: "r.name", Folded: "r.name_folded"},
		{Name: "status", Kind: query.Enum, SQL: "r.status", Values: texts(RolloutStatuses)},
		{Name: "operation", Kind: query.Enum, SQL: "r.operation", Values: texts(Works)},
		{Name: "carrier", Kind: query.Text, SQL: "r.carrier"},
		{Name: "job_id", Kind: query.Number, SQL: "r.job_id"},
		{Name: "created_by", Kind: query.Text, SQL: "r.created_by"},
		{Name: "created", Kind: query.Time, SQL: "r.created_at"},
		{Name: "updated", Kind: query.Time, SQL: "r.updated_at"},
	},
}

// RolloutsPage returns a page of an account's rollouts, by [RolloutSchema].
func (s *Store) RolloutsPage(ctx context.Context, account string, spec query.Spec) (query.Page[Rollout], error) {
	return rolloutTable.page(ctx, s.DB, account, spec)
}

var ruleTable = table[Rule]{
	name: "rule", selects: selectRule, is: "u.id = lower($1)", account: "u.account_sid", scan: scanRule,
	place: func(x Rule) int64 { return micros(x.CreatedAt) },
}

// RuleSchema is the fields by which rules are listed.
var RuleSchema = &query.Schema{
	Key: "created",
	Fields: []query.Field{
		{Name: "id", Kind: query.Text, SQL: "u.id", Folded: "u.id"},
		{Name: "cause", Kind: query.Enum, SQL: "u.cause", Values: []string{string(CauseAutomation), string(CauseTemplate)}},
		{Name: "name", Kind: query.Text, SQL: "u.name", Folded: "u.name_folded"},
		{Name: "enabled", Kind: query.Bool, SQL: "u.enabled"},
		{Name: "group", Kind: query.Group, SQL: "u.group_path", Folded: "u.group_folded"},
		{Name: "type", Kind: query.Text, SQL: "u.type", Folded: "u.type_folded"},
		{Name: "operation", Kind: query.Enum, SQL: "u.operation", Values: texts(Works)},
		{Name: "carrier", Kind: query.Text, SQL: "u.carrier"},
		{Name: "created", Kind: query.Time, SQL: "u.created_at"},
		{Name: "updated", Kind: query.Time, SQL: "u.updated_at"},
	},
}

// RulesPage returns a page of an account's rules, by [RuleSchema].
func (s *Store) RulesPage(ctx context.Context, account string, spec query.Spec) (query.Page[Rule], error) {
	return ruleTable.page(ctx, s.DB, account, spec)
}
