/*
 * rules/compile_index.c - the matchers. COMPILE and sallyctl.
 */
#include "config.h"

#include "rules/compile.h"

void
compile_index(struct compile *c)
{
	struct image_node end = {0};

	section_put(c, SECTION_NODES, &end);
	for (uint32_t w = 0; w <= c->words.count; w++)
		section_put_u32(c, SECTION_WORD_FIRST, 0);
	for (unsigned m = 0; m < MATCHER_COUNT; m++) {
		for (uint32_t r = 0; r < c->model->rule_count; r++)
			section_put_u32(c, SECTION_ALWAYS + m, r);
		section_put_u32(c, SECTION_POST_FIRST + m, 0);
	}
	c->worst_case = (uint32_t)c->model->rule_count;
}
