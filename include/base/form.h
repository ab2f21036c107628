/*
 * base/form.h - the form of memory that processes share: a number that differs when a layout does, so that a program is
 * never given memory that it would read otherwise (daemon/handover.h). Each file that defines such memory has a
 * function that adds its sizes, its offsets and, where these say nothing, a number that is raised by hand.
 */
#ifndef BASE_FORM_H
#define BASE_FORM_H

#include <stddef.h>
#include <stdint.h>

#define FORM_BEGIN UINT64_C(0xcbf29ce484222325)

/* FNV-1a over the bytes of the value, the lowest first. */
static inline uint64_t
form_add(uint64_t form, uint64_t value)
{
	for (int i = 0; i < 8; i++, value >>= 8)
		form = (form ^ (value & 0xff)) * UINT64_C(0x100000001b3);
	return form;
}

static inline uint64_t
form_add_text(uint64_t form, const char *text)
{
	for (; *text != '\0'; text++)
		form = form_add(form, (unsigned char)*text);
	return form_add(form, 0);
}

static inline uint64_t
form_of(const uint64_t *values, size_t count)
{
	uint64_t form = FORM_BEGIN;

	for (size_t i = 0; i < count; i++)
		form = form_add(form, values[i]);
	return form;
}

#define FORM_OF(values) form_of((values), sizeof(values) / sizeof((values)[0]))

#endif
