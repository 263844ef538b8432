"""The contract's generated stubs: ``proto/consentry/v1/*.proto`` made into Python by ``make proto``."""
