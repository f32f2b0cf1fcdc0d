"""How large, and how quick, is a page of many features?"""
