"""Operations of the administration: one typed function each. The faces translate words and forms to them."""
