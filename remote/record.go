package remote

import (
	"context"
	"net/http"

	"godwit/device"
	"godwit/fault"
	"godwit/web"
)

// A key is what names one record in a path.
type key[K any] struct {
	param string // in the path
	name  string // in refusals
	parse func(text string) (K, error)
}

// of reads the key of a request. What is none names nothing.
func (k key[K]) of(r *web.Request) (K, error) {
	text := r.Param(k.param)
	v, err := k.parse(text)
	return v, about(err, k.name, text)
}

// idKey is a key that any text may be.
var idKey = key[string]{"id", "id", func(text string) (string, error) { return text, nil }}

// writeOne answers with one record.
func writeOne[T any](d *Door, w http.ResponseWriter, r *web.Request, status int, res resource[T], x T) error {
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, status, res.show(x, customer))
}

// fetchOf answers with the record in the path, as get finds it in an account.
func fetchOf[K, T any](d *Door, res resource[T], k key[K], get func(ctx context.Context, account string, id K) (T, error)) web.Handler {
	return oneOf(d, res, k, http.StatusOK, func(r *web.Request, id K) (T, error) { return get(r.Context(), r.Caller.Account, id) })
}

// changeOf does something to the record in the path and answers with what has
// come of it.
func changeOf[K, T any](d *Door, res resource[T], k key[K], status int, change func(context.Context, device.By, K) (T, error)) web.Handler {
	return oneOf(d, res, k, status, func(r *web.Request, id K) (T, error) { return change(r.Context(), by(r), id) })
}

func oneOf[K, T any](d *Door, res resource[T], k key[K], status int, get func(*web.Request, K) (T, error)) web.Handler {
	return func(w http.ResponseWriter, r *web.Request) error {
		id, err := k.of(r)
		if err != nil {
			return err
		}
		x, err := get(r, id)
		if err != nil {
			return about(err, k.name, id)
		}
		return writeOne(d, w, r, status, res, x)
	}
}

// deleteOf removes the record in the path.
func deleteOf[K any](k key[K], remove func(context.Context, device.By, K) error) web.Handler {
	return func(w http.ResponseWriter, r *web.Request) error {
		id, err := k.of(r)
		if err != nil {
			return err
		}
		if err := remove(r.Context(), by(r), id); err != nil {
			return about(err, k.name, id)
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

// eachOf does something for each object of a request, each for itself, and tells
// what came of it in its place. A request of one object that is no array has one
// answer. do says what names the object in a refusal.
func eachOf[T any](d *Door, res resource[T], status int, do func(*web.Request, *body) (x T, context map[string]any, err error)) web.Handler {
	return func(w http.ResponseWriter, r *web.Request) error {
		list, array, err := readBodies(r)
		if err != nil {
			return err
		}
		customer, err := d.customer(r.Context(), r.Caller.Account)
		if err != nil {
			return err
		}
		out := make([]any, len(list))
		for i, b := range list {
			x, context, err := do(r, b)
			_, refusal := fault.As(err)
			switch {
			case err != nil && !refusal:
				return err
			case err != nil && !array:
				return concerning{err, context}
			case err != nil:
				out[i] = outcome(err, context)
			case !array:
				return web.WriteJSON(w, status, res.show(x, customer))
			default:
				out[i] = res.show(x, customer)
			}
		}
		return writeMany(w, status, out)
	}
}

// putMany stores the records of a request, each for itself, and tells what became
// of each in its place. read makes of one what put takes, and says what names it
// in a refusal.
func putMany[P, T any](
	d *Door, w http.ResponseWriter, r *web.Request, res resource[T], list []*body,
	read func(*body) (p P, context map[string]any, err error),
	put func(context.Context, device.By, []P) ([]device.Put[T], error),
) error {
	if len(list) > maxExport {
		return fault.New(fault.Invalid, "the request has more than %d records: send them in parts", maxExport)
	}
	customer, err := d.customer(r.Context(), r.Caller.Account)
	if err != nil {
		return err
	}
	out := make([]any, len(list))
	var patches []P
	var places []int
	contexts := make([]map[string]any, len(list))
	for i, b := range list {
		p, context, err := read(b)
		if context == nil {
			context = map[string]any{"index": i} // it has no key
		}
		contexts[i] = context
		if err != nil {
			out[i] = outcome(err, context)
			continue
		}
		patches, places = append(patches, p), append(places, i)
	}
	puts, err := put(r.Context(), by(r), patches)
	if err != nil {
		return err
	}
	for n, one := range puts {
		i := places[n]
		if one.Err != nil {
			out[i] = outcome(one.Err, contexts[i])
		} else {
			out[i] = res.show(one.Item, customer)
		}
	}
	return writeMany(w, http.StatusCreated, out)
}
